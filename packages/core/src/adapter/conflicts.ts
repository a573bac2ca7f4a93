import { PeftError } from "../errors.ts";
import { layerParameters } from "../model/site.ts";
import type { Adapter } from "./adapter.ts";

/** Some methods allow one active adapter of theirs. */
export function requireCompatible(active: readonly Adapter[]): void {
  for (const [i, adapter] of active.entries()) {
    const other = active.slice(0, i).find(({ method }) => method === adapter.method);
    if (other === undefined || adapter.method.capabilities.multiAdapter) continue;
    throw new PeftError(
      "ADAPTER_CONFLICT",
      `Only one adapter of method "${adapter.method.name}" can be active, got "${other.name}" and "${adapter.name}". Activate one of them.`,
    );
  }
}

/** A trained row stands for the table's own: what another adapter makes of the same table would be lost in it. */
export function requireOwnTables(active: readonly Adapter[]): void {
  for (const adapter of active) {
    for (const { path, tables } of adapter.tokens) {
      const other = active.find(
        ({ layers, overrides }) =>
          layers.some(({ site }) => layerParameters(site).some((name) => tables.includes(name))) ||
          tables.some((table) => overrides.has(table)),
      );
      if (other === undefined) continue;
      throw new PeftError(
        "ADAPTER_CONFLICT",
        `The adapter "${adapter.name}" trains rows of "${path}", which "${other.name}" changes as a whole, so they cannot be active together. ` +
          "Activate one of them, or merge the first into the base model.",
      );
    }
  }
}
