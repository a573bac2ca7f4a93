import { fileURLToPath } from "node:url";

/** The model's folder: config.json, model.safetensors, tokenizer.json, as `fromPretrained` and Python's Auto classes read it. */
export const modelPath: string = fileURLToPath(new URL("../model", import.meta.url));
