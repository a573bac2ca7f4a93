export { ia3 } from "./method.ts";
export { Ia3Config } from "./config.ts";
export { scaleDelta, scaleInput, scaleOutput } from "./layer.ts";
