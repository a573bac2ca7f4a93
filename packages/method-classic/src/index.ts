export { full } from "./full/method.ts";
export { FullConfig } from "./full/config.ts";
export { bitfit } from "./bitfit/method.ts";
export { BitFitConfig } from "./bitfit/config.ts";
export { head } from "./head/method.ts";
export { HeadConfig } from "./head/config.ts";
