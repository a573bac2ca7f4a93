import { commonKeys } from "../checkpoint/adapterConfig.ts";
import { PeftError } from "../errors.ts";
import type { FileForm, Method } from "../method/method.ts";
import type { Reader } from "../method/registry.ts";
import type { BaseModel } from "../model/model.ts";
import { didYouMean } from "../nearMisses.ts";
import { hostSite, type Adapter } from "./adapter.ts";
import { createFormed, ownValues } from "./formed.ts";

/**
 * An adapter as another type of file says it: one of the carrier's.
 * @throws PeftError `INTERCHANGE_UNSUPPORTED` when there is no such type, or it cannot say this adapter.
 */
export async function interchangedTo(base: BaseModel, adapter: Adapter, as: string): Promise<Adapter> {
  const { method, config } = adapter;
  const writable = (method.interchange ?? []).filter(({ to }) => to !== undefined);
  const interchange = writable.find(({ carrier }) => carrier.name === as);
  if (interchange?.to === undefined) {
    const names = [method, ...writable.map(({ carrier }) => carrier)].map(({ name }) => name);
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `An adapter of method "${method.name}" cannot be written as "${as}".${didYouMean(as, names)} It can be written as: ${names.join(", ")}.`,
    );
  }
  const form = interchange.to({ config, sites: hostSites(adapter) });
  return recast(base, adapter, { method: interchange.carrier, form, by: `The form of "${as}"` });
}

/** What was read, as an adapter of the reader's method. */
export async function interchangedFrom(
  base: BaseModel,
  adapter: Adapter,
  { method, interchange }: Reader,
): Promise<Adapter> {
  if (interchange?.from === undefined) return adapter;
  const replaced = [...adapter.overrides].find(([, { kind }]) => kind === "replaced")?.[0];
  if (replaced !== undefined) {
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `The file also changes "${replaced}" of an adapted layer, which method "${method.name}" cannot say. ` +
        `Merge it into its base model with the library that wrote it, or read it by a method of its own type.`,
    );
  }
  const form = interchange.from({ config: adapter.config, sites: hostSites(adapter) });
  return recast(base, adapter, { method, form, by: `The form from "${interchange.carrier.name}"` });
}

interface RecastOptions {
  readonly method: Method;
  readonly form: FileForm<object>;
  readonly by: string;
}

/** The adapter under another method; what lies beside its layers goes along. */
async function recast(base: BaseModel, adapter: Adapter, { method, form, by }: RecastOptions): Promise<Adapter> {
  const { name, tokens, modulesToSave } = adapter;
  if (tokens.length > 0 && !("trainableTokenIndices" in form.config)) {
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `The adapter "${name}" trains rows of ${tokens.map(({ path }) => `"${path}"`).join(", ")}, which "${method.name}" has no place for. ` +
        `Save it in its own form, or train one without trainableTokenIndices.`,
    );
  }
  const own = new Map(ownValues(adapter));
  return createFormed(base, {
    ...{ name, method, form, by, modulesToSave, own },
    configJson: commonKeys(adapter.configJson),
  });
}

function hostSites(adapter: Adapter): ReturnType<typeof hostSite>[] {
  return adapter.layers.map((layer) => hostSite(adapter, layer));
}
