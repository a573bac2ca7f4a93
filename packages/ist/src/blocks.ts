import { PeftError } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";

/** The blocks that can learn, and what belongs to them. */
export interface BlockGroups {
  /** Numbers of the transformer blocks with something to train, ascending. Their places in this list are what is drawn. */
  readonly blocks: readonly number[];
  /** Place of each trainable parameter's block; null outside of the blocks: learns in every step. */
  readonly groupOf: ReadonlyMap<string, number | null>;
}

/**
 * Divides trainable parameters among the transformer blocks by their paths: all that lies below the modules of a block belongs to it,
 * its norms and biases too. `trainable` are names without the adapter's.
 * @throws PeftError `BLOCKS_SHARED` when blocks have weights in common, `BLOCKS_MISSING` when none has something to train.
 */
export function blockGroups(
  sites: readonly Pick<LayerSite, "path" | "block" | "weight">[],
  trainable: readonly string[],
): BlockGroups {
  requireOwnWeights(sites);
  const paths = blockPaths(sites);
  const blockOf = (name: string): number | null => {
    for (const [block, path] of paths) if (name === path || name.startsWith(`${path}.`)) return block;
    return null;
  };
  const found = new Map(trainable.map((name) => [name, blockOf(name)]));
  const numbers = new Set([...found.values()].filter((block) => block !== null));
  const blocks = [...numbers].sort((a, b) => a - b);
  if (blocks.length === 0) {
    throw new PeftError(
      "BLOCKS_MISSING",
      `None of the ${trainable.length} trainable parameters lies in a transformer block, so there are no blocks to choose from. Attach an adapter to layers of the blocks.`,
    );
  }
  const groupOf = new Map([...found].map(([name, block]) => [name, block === null ? null : blocks.indexOf(block)]));
  return { blocks, groupOf };
}

/** Modules that hold all sites of a block: `bert.encoder.layer.0`. */
function blockPaths(sites: readonly Pick<LayerSite, "path" | "block">[]): Map<number, string> {
  const paths = new Map<number, string[]>();
  for (const { path, block } of sites) {
    if (block === null) continue;
    const modules = path.split(".");
    const before = paths.get(block) ?? modules;
    const end = before.findIndex((module, i) => module !== modules[i]);
    paths.set(block, end < 0 ? before : before.slice(0, end));
  }
  return new Map([...paths].map(([block, modules]) => [block, modules.join(".")]));
}

/** Blocks that are one block several times learn together or not at all. */
function requireOwnWeights(sites: readonly Pick<LayerSite, "path" | "block" | "weight">[]): void {
  const owners = new Map<string, number>();
  for (const { path, block, weight } of sites) {
    if (block === null) continue;
    const owner = owners.get(weight) ?? block;
    if (owner !== block) {
      throw new PeftError(
        "BLOCKS_SHARED",
        `The blocks ${owner} and ${block} share the weight of "${path}", so that neither can learn without the other. Choose a model whose blocks have weights of their own, or one that counts a group of shared blocks as one block.`,
      );
    }
    owners.set(weight, owner);
  }
}

/**
 * Refuses two plug-ins that both choose the blocks of a step.
 * @throws PeftError `PLUGIN_CONFLICT`.
 */
export function requireOneChooser(names: readonly string[]): void {
  if (names.length < 2) return;
  throw new PeftError(
    "PLUGIN_CONFLICT",
    `${names.map((name) => `"${name}"`).join(" and ")} both choose the blocks that learn in a step. Use one of them.`,
  );
}
