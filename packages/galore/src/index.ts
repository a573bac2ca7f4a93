export { GaloreConfig } from "./config.ts";
export { galore } from "./galore.ts";
export { saveAsLora } from "./saveAsLora.ts";
export type { SaveAsLoraOptions } from "./saveAsLora.ts";
