import { widen } from "@peftjs/core";
import type { BaseModel } from "@peftjs/core";
import { tinyModel } from "../subjects.ts";
import type { Family } from "../subjects.ts";

/** A tiny model whose linear layers are held in eight bits. */
export function int8Model(family: Family): BaseModel {
  return tinyModel(family, { frozen: "int8" });
}

/** The values of that model, in float32. */
export function dequantizedModel(family: Family): BaseModel {
  const base = int8Model(family);
  for (const [name, tensor] of base.parameters) base.parameters.set(name, widen(tensor));
  return base;
}
