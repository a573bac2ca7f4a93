import { isBias, isInModules, PeftError, sizeOf } from "@peftjs/core";
import type { Adapter, LayerSite, PeftModel } from "@peftjs/core";

/** A parameter that may count: one of the base model's, or one that an adapter brings. */
export interface Candidate {
  /** The base model's name, or `<adapter>.<layer path>.<short name>`. */
  readonly name: string;
  /** Where its tensor is among `model.frozen()` and `model.trainable()`. */
  readonly key: string;
  readonly shape: readonly number[];
  /** `weight`: of a linear layer. `embedding`: a table. `own`: what an adapter brings. `other`: gains, positions and the like. */
  readonly kind: "weight" | "bias" | "embedding" | "own" | "other";
  /** The layer whose weight it is. */
  readonly site: LayerSite | null;
  /** Whether it lies in the task head, or in a module that is trained in full beside a method. */
  readonly head: boolean;
  /** Who trains it: a method as its own business, a method beside its own parameters (biases, norms), or nobody. */
  readonly trained: "method" | "beside" | null;
}

/** Which of a parameter's values count: all (true), none (false), or those at these places of its stored form. */
export type Subset = (candidate: Candidate) => boolean | Int32Array;

/** Of one parameter, what counts. */
export interface Selected {
  readonly name: string;
  readonly key: string;
  /** Null: all of them. */
  readonly places: Int32Array | null;
  /** Values that count. */
  readonly size: number;
  /** Values that there are. */
  readonly of: number;
}

export interface SubsetReport {
  /** |S| */
  readonly size: number;
  readonly parameters: readonly Pick<Selected, "name" | "size" | "of">[];
}

/**
 * What the attached methods train, and nothing else. `biases`: also what a method trains beside parameters of its own; a method that has
 * none (BitFit, full fine-tuning) trains biases as its own business. `head`: also the task head.
 */
export function trained({ biases = false, head = false }: { biases?: boolean; head?: boolean } = {}): Subset {
  return (candidate) =>
    candidate.trained !== null && (biases || candidate.trained === "method") && (head || !candidate.head);
}

/** Every parameter of the base model. What an adapter brings does not count, but changes where the gradients are taken. */
export const all: Subset = ({ kind }) => kind !== "own";

/** Every bias of the base model, those of norms and of the head included. */
export const biases: Subset = ({ kind }) => kind === "bias";

/** Every parameter of the base model but its tables: word, position and type embeddings. */
export const noEmbeddings: Subset = ({ kind }) => kind !== "own" && kind !== "embedding";

/** Every parameter of the base model outside of the task head. */
export const noHead: Subset = ({ kind, head }) => kind !== "own" && !head;

export interface SliceOptions {
  /** Layers of the task head count, too. Default: false, as for an attached method. */
  readonly head?: boolean;
}

/** The first r rows, or those of a list, of every linear weight [out, in]; a layer that has fewer counts with those it has. */
export function rows(which: number | readonly number[], { head = false }: SliceOptions = {}): Subset {
  return slices(head, ({ inFeatures, outFeatures, layout }) => {
    const perRow = Array.from({ length: inFeatures }, (_, j) => j);
    return within(which, outFeatures).flatMap((i) =>
      perRow.map((j) => (layout === "out_in" ? i * inFeatures + j : j * outFeatures + i)),
    );
  });
}

/** The first r columns, or those of a list, of every linear weight [out, in]; a layer that has fewer counts with those it has. */
export function columns(which: number | readonly number[], { head = false }: SliceOptions = {}): Subset {
  return slices(head, ({ inFeatures, outFeatures, layout }) => {
    const wanted = within(which, inFeatures);
    return Array.from({ length: outFeatures }, (_, i) => i).flatMap((i) =>
      wanted.map((j) => (layout === "out_in" ? i * inFeatures + j : j * outFeatures + i)),
    );
  });
}

function slices(head: boolean, places: (site: LayerSite) => number[]): Subset {
  return ({ kind, site, head: inHead }) =>
    kind === "weight" && site !== null && (head || !inHead) ? Int32Array.from(places(site)) : false;
}

function within(which: number | readonly number[], size: number): readonly number[] {
  if (typeof which !== "number") return which.filter((index) => index < size);
  return Array.from({ length: Math.min(which, size) }, (_, index) => index);
}

/**
 * The parameters of a model that may count, the base model's first; tied ones once. Of a parameter that an active adapter has its own
 * copy of, that copy.
 */
export function candidates(model: PeftModel): Candidate[] {
  const present = new Set([...Object.keys(model.frozen()), ...Object.keys(model.trainable())]);
  const base = [...model.base.parameters].flatMap(([name, { shape }]): Candidate[] => {
    const owner = model.active.findLast((adapter) => present.has(`${adapter}.${name}`));
    const key = owner === undefined ? name : `${owner}.${name}`;
    // What is missing is tied to a parameter that is there.
    return present.has(key) ? [{ name, key, shape, ...roleOf(model, name), ...trainerOf(model, owner, name) }] : [];
  });
  return [...base, ...ownCandidates(model, new Set(base.map(({ key }) => key)))];
}

function ownCandidates(model: PeftModel, known: ReadonlySet<string>): Candidate[] {
  return Object.entries(model.trainable())
    .filter(([key]) => !known.has(key))
    .map(([key, { shape }]) => {
      const local = key.slice(key.indexOf(".") + 1);
      const head = isInModules(local.slice(0, local.lastIndexOf(".")), model.base.headModules);
      const adapter = model.adapters.get(key.slice(0, key.indexOf(".")))!;
      const beside = isOwnBias(key) && bringsWeights(adapter);
      return { name: key, key, shape, kind: "own", site: null, head, trained: beside ? "beside" : "method" };
    });
}

function roleOf({ base }: PeftModel, name: string): Pick<Candidate, "kind" | "site"> {
  const site = base.sites.find(({ weight, kind }) => weight === name && kind !== "prompt") ?? null;
  if (site !== null) return { kind: site.kind === "embedding" ? "embedding" : "weight", site };
  if (isBias(name)) return { kind: "bias", site };
  return { kind: /embeddings?\.weight$/u.test(name) ? "embedding" : "other", site };
}

/** A base parameter is the head's, or a method's: as its own business where the method has no other parameters. */
function trainerOf(model: PeftModel, owner: string | undefined, name: string): Pick<Candidate, "head" | "trained"> {
  const adapter = owner === undefined ? undefined : model.adapters.get(owner);
  const learns = adapter !== undefined && `${adapter.name}.${name}` in model.trainable();
  const saved = adapter?.overrides.get(name)?.kind === "saved";
  const head = saved || isInModules(name.slice(0, Math.max(name.lastIndexOf("."), 0)), model.base.headModules);
  if (!learns) return { head, trained: null };
  return { head, trained: saved || !bringsWeights(adapter) ? "method" : "beside" };
}

function bringsWeights({ params }: Adapter): boolean {
  return [...params.keys()].some((name) => !isOwnBias(name));
}

/** A method's own change of a layer's bias; biases of modules that a method adds are named after the module, e.g. `downBias`. */
function isOwnBias(name: string): boolean {
  return /\.bias[^.]*$/u.test(name);
}

/**
 * Of all candidates, what a subset lets count.
 * @throws PeftError `SUBSET_EMPTY`.
 */
export function select(model: PeftModel, subset: Subset): Selected[] {
  const there = candidates(model);
  const selected = there.flatMap((candidate): Selected[] => {
    const chosen = subset(candidate);
    const of = sizeOf(candidate.shape);
    const places = chosen instanceof Int32Array ? chosen : null;
    const size = places?.length ?? (chosen === true ? of : 0);
    return size === 0 ? [] : [{ name: candidate.name, key: candidate.key, places, size, of }];
  });
  if (selected.length > 0) return selected;
  throw new PeftError(
    "SUBSET_EMPTY",
    `None of the ${there.length} parameters counts, so there is no kernel. What the attached methods train is: ` +
      `${there.flatMap(({ name, trained }) => (trained === null ? [] : [name])).join(", ") || "nothing"}. ` +
      "Attach a method that trains something, let biases or the head count (`trained({ biases: true })`), or choose a subset of the base model (`all`, `rows(3)`).",
  );
}

export function reportOf(selected: readonly Selected[]): SubsetReport {
  return {
    size: selected.reduce((sum, { size }) => sum + size, 0),
    parameters: selected.map(({ name, size, of }) => ({ name, size, of })),
  };
}
