export { rocoft } from "./method.ts";
export { RocoftConfig, source } from "./config.ts";
export { changedProduct, changeOfWeight, columnUpdate, place, rowUpdate, take } from "./layer.ts";
export type { Change, Coordinates, Stored } from "./layer.ts";
export { selectCoordinates } from "./select/indices.ts";
export type { ChosenCoordinates, SelectContext } from "./select/indices.ts";
