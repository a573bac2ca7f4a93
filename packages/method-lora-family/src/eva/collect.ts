import { PeftError } from "@peftjs/core";
import type { CalibrateContext, HostTensor, LayerSite, LayerValues, Named, Warn } from "@peftjs/core";
import { loraSiteConfig } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { convergedComponents, explainedVarianceRatios, updatePca } from "./incrementalPca.ts";
import type { Pca } from "./incrementalPca.ts";
import type { EvaSettings } from "./options.ts";
import { redistributeRanks } from "./redistribute.ts";
import { countedRows } from "./tokens.ts";

/** Layers with one and the same input: they share their components. */
export interface LayerGroup {
  readonly sites: readonly LayerSite[];
  /** Components kept, k. */
  readonly size: number;
  /** Null until a batch had at least k rows. */
  pca: Pca | null;
  /** As many components, from the first on, have converged. */
  converged: number;
  /** As many have to: the largest rank that a layer of the group would get. */
  wanted: number;
}

/**
 * Runs batches, again from the first one after the last, until every group has converged. A converged group takes no more batches, unless
 * its rank grows beyond what has converged. Groups that no batch had enough rows for are left out, with a warning.
 */
export async function collectComponents(
  context: CalibrateContext<LoraConfig>,
  settings: EvaSettings,
): Promise<readonly LayerGroup[]> {
  const { batches, config } = context;
  let groups: readonly LayerGroup[] | null = null;
  for (let seen = 0; ;) {
    const before = seen;
    for (const batch of batches ?? []) {
      const inputs = await context.layerInputs(batch);
      groups ??= groupByInput(context, inputs, settings.rho);
      update(groups, { inputs, batch, settings, config });
      seen++;
      if (groups.every(isConverged)) return groups;
      if (seen === settings.maxBatches) return stop(groups, seen, context.warn);
    }
    if (seen === before) throw noData(batches === null);
    groups = started(groups ?? [], context.warn);
  }
}

/** The rank of each layer of the groups; together as many as the config gives them. */
export function rankLayers(groups: readonly LayerGroup[], config: LoraConfig): ReadonlyMap<string, number> {
  const sites = groups.flatMap((group) => group.sites);
  const budget = sites.reduce((sum, site) => sum + loraSiteConfig({ site, config }).rank, 0);
  const layers = groups.flatMap((group) => {
    const ratios = group.pca === null ? [] : explainedVarianceRatios(group.pca);
    return group.sites.map(({ path }) => ({ path, owner: ownerOf(group), ratios }));
  });
  return redistributeRanks(layers, budget);
}

/** Linear layers by their input: layers that share it have the same tensor. k = round(r·ρ), of the largest r in the group. */
function groupByInput(
  { sites, config }: CalibrateContext<LoraConfig>,
  inputs: LayerValues,
  rho: number,
): readonly LayerGroup[] {
  const sharing = new Map<HostTensor, LayerSite[]>();
  for (const site of sites.filter(({ kind }) => kind === "linear")) {
    const input = inputs.get(site.path) as HostTensor;
    sharing.set(input, [...(sharing.get(input) ?? []), site]);
  }
  return [...sharing.values()].map((group) => {
    const rank = Math.max(...group.map((site) => loraSiteConfig({ site, config }).rank));
    const size = Math.min(roundHalfToEven(rank * rho), (group[0] as LayerSite).inFeatures);
    return { sites: group, size, pca: null, converged: 0, wanted: size };
  });
}

interface Observation {
  readonly inputs: LayerValues;
  readonly batch: Named<HostTensor>;
  readonly settings: EvaSettings;
  readonly config: LoraConfig;
}

/** Takes a batch into the groups that have not converged, and then ranks all layers anew. */
function update(groups: readonly LayerGroup[], { inputs, batch, settings, config }: Observation): void {
  for (const group of groups) {
    if (isConverged(group)) continue;
    const rows = countedRows(inputs.get(ownerOf(group)) as HostTensor, batch, settings);
    if (rows.rows < group.size) continue;
    const pca = updatePca(group.pca, rows, group.size);
    group.converged = convergedComponents(group.pca, pca, settings.tau);
    group.pca = pca;
  }
  if (groups.some(({ pca }) => pca === null)) return;
  const ranks = rankLayers(groups, config);
  for (const group of groups) group.wanted = ranks.get(ownerOf(group)) as number;
}

function isConverged({ converged, wanted }: LayerGroup): boolean {
  return converged >= wanted;
}

/** The first layer of a group, which gets the largest rank. */
function ownerOf({ sites }: LayerGroup): string {
  return (sites[0] as LayerSite).path;
}

/** As Python rounds: 2.5 → 2, 3.5 → 4. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** The groups that have components. */
function started(groups: readonly LayerGroup[], warn: Warn): readonly LayerGroup[] {
  const missing = groups.filter(({ pca }) => pca === null);
  if (missing.length === 0) return groups;
  const rows = Math.max(...missing.map(({ size }) => size));
  const what = `No calibration batch has the ${rows} rows that EVA needs for ${pathsOf(missing)}`;
  const remedy = "Use larger batches, a smaller rank, or a smaller eva.rho.";
  if (missing.length === groups.length) throw new PeftError("CALIBRATION_DATA_TOO_SMALL", `${what}. ${remedy}`);
  warn(`${what}: there A starts at random, with the rank of the config. ${remedy}`);
  return groups.filter(({ pca }) => pca !== null);
}

/** The groups as they are when there were enough batches. */
function stop(groups: readonly LayerGroup[], seen: number, warn: Warn): readonly LayerGroup[] {
  const turning = pathsOf(groups.filter((group) => !isConverged(group)));
  warn(
    `After ${seen} batches the components of ${turning} have not converged; they are used as they are. ` +
      "Raise eva.maxBatches, lower eva.tau, or use larger batches.",
  );
  return started(groups, warn);
}

function pathsOf(groups: readonly LayerGroup[]): string {
  const paths = groups.flatMap(({ sites }) => sites.map(({ path }) => path));
  return paths.length <= 3 ? paths.join(", ") : `${paths.slice(0, 3).join(", ")} and ${paths.length - 3} more`;
}

function noData(withoutBatches: boolean): PeftError {
  const got = withoutBatches ? "got no batches" : "the batches it got are none";
  return new PeftError(
    "CALIBRATION_DATA_MISSING",
    `initLoraWeights: "eva" looks at data before training starts, but ${got}. Pass apply({ batches, runner: engine }) an array of batches ` +
      "like those of training. The command line and the bench pass theirs.",
  );
}
