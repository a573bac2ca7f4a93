import type { LayerSite } from "./site.ts";

/** The transformer blocks of a model: index → path of the module that holds all layers of the block, e.g. `bert.encoder.layer.0`. */
export type BlockPaths = ReadonlyMap<number, string>;

export function blockPaths(sites: readonly Pick<LayerSite, "path" | "block">[]): BlockPaths {
  const paths = new Map<number, readonly string[]>();
  for (const { path, block } of sites) {
    if (block === null) continue;
    const modules = path.split(".");
    const before = paths.get(block) ?? modules;
    const end = before.findIndex((module, i) => module !== modules[i]);
    paths.set(block, end < 0 ? before : before.slice(0, end));
  }
  return new Map([...paths].sort(([a], [b]) => a - b).map(([block, modules]) => [block, modules.join(".")]));
}

/** Index of the block that a parameter or module lies in; null outside. */
export function blockOf(paths: BlockPaths, name: string): number | null {
  for (const [block, path] of paths) if (name === path || name.startsWith(`${path}.`)) return block;
  return null;
}
