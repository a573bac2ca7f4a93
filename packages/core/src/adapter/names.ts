import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import type { Adapter } from "./adapter.ts";

export function findAdapter(adapters: ReadonlyMap<string, Adapter>, name: string): Adapter {
  const adapter = adapters.get(name);
  if (adapter !== undefined) return adapter;
  const names = [...adapters.keys()];
  const attached = names.length === 0 ? "None is attached." : `Attached: ${names.join(", ")}.`;
  throw new PeftError("ADAPTER_UNKNOWN", `No adapter is called "${name}".${didYouMean(name, names)} ${attached}`);
}

/** Names become parts of parameter keys and folder names. */
export function checkNewName(adapters: ReadonlyMap<string, Adapter>, name: string): void {
  if (!/^[^./\\:\s][^./\\:]*$/u.test(name)) {
    throw new PeftError(
      "ADAPTER_NAME_INVALID",
      `"${name}" cannot name an adapter: it may not be empty or hold ".", "/", "\\" or ":".`,
    );
  }
  if (adapters.has(name))
    throw new PeftError(
      "ADAPTER_EXISTS",
      `An adapter called "${name}" is attached already. Choose another name or detach it first.`,
    );
}
