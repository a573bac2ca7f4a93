import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
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
   * The method that reads an adapter_config.json: of the methods with its `peft_type`, the first that accepts it.
   * @throws PeftError `METHOD_UNKNOWN` naming the type and the registered ones.
   */
  byPeftType(peftType: string, adapterConfig: Readonly<Record<string, unknown>> = {}): Method {
    const type = peftType.toUpperCase();
    const candidates = this.list().filter(({ wire }) => wire.peftType === type);
    const method = candidates.find(({ wire }) => wire.accepts?.(adapterConfig) ?? true);
    if (method !== undefined) return method;
    const types = [...new Set(this.list().map(({ wire }) => wire.peftType))];
    const reason =
      candidates.length === 0
        ? `No registered method reads peft_type "${peftType}".${didYouMean(type, types)} Registered types: ${types.join(", ") || "none"}.`
        : `The methods of peft_type "${type}" (${candidates.map(({ name }) => name).join(", ")}) do not support this adapter_config.json.`;
    throw new PeftError("METHOD_UNKNOWN", `${reason} Add the method that does with registry.use(method).`);
  }

  /** In the order of registration. */
  list(): readonly Method[] {
    return [...this.#methods.values()];
  }
}
