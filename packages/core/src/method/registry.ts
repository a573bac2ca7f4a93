import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import type { Interchange } from "./interchange.ts";
import type { Method } from "./method.ts";

/** Methods by name and by `peft_type`. Registration is explicit: importing a package registers nothing. */
export class MethodRegistry {
  readonly #methods = new Map<string, Method>();

  /** @throws PeftError `METHOD_EXISTS` when another method has the same name. */
  use<Config extends object>(method: Method<Config>): this {
    const present = this.#methods.get(method.name);
    if (present !== undefined && present !== (method as unknown as Method)) {
      throw new PeftError(
        "METHOD_EXISTS",
        `Two methods are called "${method.name}": one from ${present.package}, one from ${method.package}.`,
      );
    }
    this.#methods.set(method.name, method as unknown as Method);
    return this;
  }

  /** @throws PeftError `METHOD_UNKNOWN` with near misses. */
  get(name: string): Method {
    const method = this.#methods.get(name);
    if (method !== undefined) return method;
    const names = [...this.#methods.keys()];
    throw new PeftError(
      "METHOD_UNKNOWN",
      `No method is called "${name}".${didYouMean(name, names)} Registered: ${names.join(", ") || "none"}. Add one with registry.use(method).`,
    );
  }

  /**
   * How an adapter_config.json is read: by the first method whose own files it is one of, else by the first that can say what such a
   * file says. With `as`, by the method of that name.
   * @throws PeftError `METHOD_UNKNOWN` naming the type and what can be read; `INTERCHANGE_UNSUPPORTED` when the method of `as` reads no such file.
   */
  reader(adapterConfig: Readonly<Record<string, unknown>>, as?: string): Reader {
    const methods = as === undefined ? this.list() : [this.get(as)];
    const own = methods.find((method) => owns(method, adapterConfig));
    if (own !== undefined) return { method: own, interchange: null };
    for (const method of methods) {
      const interchange = readable(method).find(({ carrier }) => owns(carrier, adapterConfig));
      if (interchange !== undefined) return { method, interchange };
    }
    throw as === undefined ? this.#unread(typeOf(adapterConfig)) : notReadAs(this.get(as), typeOf(adapterConfig));
  }

  #unread(type: string): PeftError {
    const methods = this.list();
    const candidates = methods.filter((method) => typesOf(method).includes(type)).map(({ name }) => name);
    const types = [...new Set(methods.flatMap(typesOf))];
    const reason =
      candidates.length === 0
        ? `No registered method reads peft_type "${type}".${didYouMean(type, types)} Registered types: ${types.join(", ") || "none"}.`
        : `The methods of peft_type "${type}" (${candidates.join(", ")}) do not support this adapter_config.json.`;
    return new PeftError("METHOD_UNKNOWN", `${reason} Add the method that does with registry.use(method).`);
  }

  /** In the order of registration. */
  list(): readonly Method[] {
    return [...this.#methods.values()];
  }
}

/** Who reads a file. */
export interface Reader {
  readonly method: Method;
  /** What makes it an adapter of the method, where the file is of another type. */
  readonly interchange: Interchange<object> | null;
}

function typeOf(adapterConfig: Readonly<Record<string, unknown>>): string {
  return String(adapterConfig["peft_type"]).toUpperCase();
}

function owns({ wire }: Method, adapterConfig: Readonly<Record<string, unknown>>): boolean {
  return wire.peftType === typeOf(adapterConfig) && (wire.accepts?.(adapterConfig) ?? true);
}

/** The other types of file that a method reads. */
function readable({ interchange = [] }: Method): readonly Interchange<object>[] {
  return interchange.filter(({ from }) => from !== undefined);
}

function typesOf(method: Method): string[] {
  return [method, ...readable(method).map(({ carrier }) => carrier)].map(({ wire }) => wire.peftType);
}

function notReadAs(method: Method, type: string): PeftError {
  const types = typesOf(method);
  const reason = types.includes(type) ? "and not this one" : `and this one has "${type}"`;
  return new PeftError(
    "INTERCHANGE_UNSUPPORTED",
    `Method "${method.name}" reads adapter_config.json files of peft_type ${types.join(", ")}, ${reason}. ` +
      `Read it by the method that wrote it, which takes its files without \`as\`.`,
  );
}
