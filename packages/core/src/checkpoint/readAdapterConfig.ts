import { PeftError } from "../errors.ts";
import type { Method } from "../method/method.ts";
import type { MethodRegistry, Reader } from "../method/registry.ts";
import type { BaseModel } from "../model/model.ts";
import type { Warn } from "../warnings.ts";
import { fromAdapterConfig, isSet } from "./adapterConfig.ts";

type Json = Readonly<Record<string, unknown>>;

export interface ReadAdapterConfigOptions {
  readonly methods: MethodRegistry;
  /** Of the file, for errors. */
  readonly path: string;
  readonly warn: Warn;
  /** Name of the method that shall read it. */
  readonly as?: string | undefined;
}

/** What an adapter_config.json says. */
export interface WrittenConfig {
  readonly reader: Reader;
  /** Of the reader's method, or of its interchange's carrier. */
  readonly config: object;
  /** Keys to write back as they are. */
  readonly rest: Json;
}

/**
 * Who reads an adapter_config.json, and what it says.
 * @throws PeftError `ADAPTER_CONFIG_INVALID` (no `peft_type`), `METHOD_UNKNOWN`, `INTERCHANGE_UNSUPPORTED`, `ADAPTER_CONFIG_UNSUPPORTED`
 * (a key that changes what the adapter computes and that the method does not offer).
 */
export function readAdapterConfig(json: Json, { methods, path, warn, as }: ReadAdapterConfigOptions): WrittenConfig {
  const type = peftType(json, path);
  if (type !== type.toUpperCase())
    warn(
      `${path} spells its peft_type "${type}". It is read as "${type.toUpperCase()}"; the Python library refuses it.`,
    );
  const reader = methods.reader(json, as);
  const method = reader.interchange?.carrier ?? reader.method;
  requireSupported(method, json, path);
  if (isSet(json["runtime_config"]))
    warn(`${path} holds a runtime_config. It is passed over: such settings belong to a run, not to an adapter.`);
  return { reader, ...fromAdapterConfig(method, json) };
}

function peftType(json: Json, path: string): string {
  const type = json["peft_type"];
  if (typeof type === "string") return type;
  throw new PeftError(
    "ADAPTER_CONFIG_INVALID",
    `${path} has no peft_type (found ${JSON.stringify(type)}). It should name the method.`,
  );
}

function requireSupported({ name, wire }: Method, json: Json, path: string): void {
  const key = wire.unsupported?.find((candidate) => isSet(json[candidate]));
  if (key === undefined) return;
  throw new PeftError(
    "ADAPTER_CONFIG_UNSUPPORTED",
    `${path} sets "${key}" to ${JSON.stringify(json[key])}, which changes what the adapter computes, and method "${name}" does not offer it. ` +
      `Merge the adapter into its base model with the library that wrote it, or train one without "${key}".`,
  );
}

/** Which base model an adapter_config.json was written for, and which one this is. */
export function aboutBase(json: Json, base: BaseModel): string {
  const named = json["base_model_name_or_path"];
  const written = isSet(named) ? `was written for the base model "${String(named)}"` : "does not name its base model";
  return `The adapter ${written}; this one is "${base.name}" (${base.modelType}).`;
}
