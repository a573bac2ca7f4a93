import { PeftError } from "@peftjs/core";
import type { LayerSite, PluginContext } from "@peftjs/core";

type Model = Pick<PluginContext<object>, "parameters" | "sites">;

/**
 * Numbers of the transformer blocks in which something learns, ascending. What is drawn are places in this list.
 * @throws PeftError `BLOCKS_SHARED` when blocks have weights in common, `BLOCKS_MISSING` when nothing learns in any.
 */
export function learningBlocks({ parameters, sites }: Model): number[] {
  requireOwnWeights(sites);
  const blocks = [...new Set(parameters.flatMap(({ block }) => block ?? []))].sort((a, b) => a - b);
  if (blocks.length > 0) return blocks;
  throw new PeftError(
    "BLOCKS_MISSING",
    `None of the ${parameters.length} trainable parameters lies in a transformer block, so there are no blocks to choose from. Attach an adapter to layers of the blocks.`,
  );
}

/** Blocks that are one block several times learn together or not at all. */
function requireOwnWeights(sites: readonly LayerSite[]): void {
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
 * Refuses to compare candidates where suppressing a block would change nothing.
 * @param plugin name of the plug-in that compares.
 * @throws PeftError `RESPONSE_MISSING`.
 */
export function requireResponses(plugin: string, blocks: readonly number[], responsive: ReadonlySet<number>): void {
  const mute = blocks.filter((block) => !responsive.has(block));
  if (mute.length === 0) return;
  throw new PeftError(
    "RESPONSE_MISSING",
    `"${plugin}" weakens what adapters add to the outputs of layers, but nothing is added in ${blockList(mute)}: what learns there is the base model's own. Expected an adapter in every block that learns. Use the plug-in "rst", which compares nothing, or set candidates to 0.`,
  );
}

function blockList(blocks: readonly number[]): string {
  return `${blocks.length === 1 ? "block" : "blocks"} ${blocks.join(", ")}`;
}
