import { float32 } from "@peftjs/core";
import type { FileContext, FileForm, HostSite, HostTensor, Named } from "@peftjs/core";
import { scheduleOf, untrainedSteps, wholeSteps } from "./budget.ts";
import type { AdaloraConfig } from "./config.ts";

type Site = HostSite<AdaloraConfig>;

/**
 * The schedule in whole steps, and of every layer the triplets that are left: those that are masked with E = 0, and so change
 * nothing, are cut out of A, E and B, and `rankPattern` says which.
 */
export function adaloraFile({ config, sites }: FileContext<AdaloraConfig>): FileForm<AdaloraConfig> {
  const settled = { ...config, ...wholeSchedule(config, sites) };
  const kept = new Map(sites.map((site) => [site, keptTriplets(site)]));
  const pruned = [...kept.values()].some((pattern) => pattern.includes(false));
  const params = new Map(sites.map((site) => [site.site.path, slice(site.params, kept.get(site)!)]));
  if (!pruned) return { config: settled, params };
  const rankPattern = Object.fromEntries([...kept].map(([{ site }, pattern]) => [site.path, pattern]));
  return { config: { ...settled, rankPattern }, params };
}

function wholeSchedule(
  config: AdaloraConfig,
  sites: readonly Site[],
): Pick<AdaloraConfig, "tinit" | "tfinal" | "totalSteps"> {
  const seen = sites[0]?.state["totalSteps"]?.data[0] ?? 0;
  const totalSteps = seen > 0 ? seen : config.totalSteps;
  if (totalSteps !== null) {
    const { tinit, tfinal } = scheduleOf(config, totalSteps);
    return { tinit, tfinal, totalSteps };
  }
  const [tinit, tfinal] = [wholeSteps(config.tinit, 0), wholeSteps(config.tfinal, 0)];
  return { tinit, tfinal, totalSteps: untrainedSteps(config) };
}

/** Without a mask the layer was loaded with what is left of it. */
function keptTriplets({ params, state }: Site): boolean[] {
  const e = [...params["e"]!.data];
  const mask = state["mask"]?.data;
  return e.map((value, i) => mask?.[i] !== 0 || value !== 0);
}

function slice(params: Named<HostTensor>, kept: readonly boolean[]): Named<HostTensor> {
  if (!kept.includes(false)) return params;
  const { a, b, e } = params as Readonly<Record<"a" | "b" | "e", HostTensor>>;
  return { ...params, a: keepRows(a, kept), b: keepColumns(b, kept), e: keepRows(e, kept) };
}

function keepRows({ data, shape }: HostTensor, kept: readonly boolean[]): HostTensor {
  const width = shape[1] as number;
  const values = data.filter((_, i) => kept[Math.floor(i / width)]!);
  return float32(Float32Array.from(values), [values.length / width, width]);
}

function keepColumns({ data, shape }: HostTensor, kept: readonly boolean[]): HostTensor {
  const values = data.filter((_, i) => kept[i % kept.length]!);
  const rows = shape[0] as number;
  return float32(Float32Array.from(values), [rows, values.length / rows]);
}
