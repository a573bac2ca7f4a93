export { GaloreConfig } from "./config.ts";
export { galore } from "./galore.ts";
export { loraFactors } from "./loraFactors.ts";
export type { LoraFactors, LoraFactorsOptions } from "./loraFactors.ts";
export { saveAsLora } from "./saveAsLora.ts";
export type { SaveAsLoraOptions } from "./saveAsLora.ts";
