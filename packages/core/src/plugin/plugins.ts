import type { Switching } from "../adapter/switching.ts";
import type { View } from "../adapter/view.ts";
import { PeftError } from "../errors.ts";
import type { ParameterGroup } from "../method/contexts.ts";
import { parseConfig } from "../method/parseConfig.ts";
import { blockOf, blockPaths, type BlockPaths } from "../model/blocks.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import type { AttachPluginOptions } from "../modelOptions.ts";
import type { ParameterRule } from "./parameterRule.ts";
import { trainableParameters } from "./parameters.ts";
import type { AttachedPlugin, TrainableParameter, TrainingPlugin } from "./plugin.ts";

/** The plug-ins of a model, and what they ask about it. */
export class Plugins {
  readonly sites: readonly LayerSite[];
  readonly #base: BaseModel;
  readonly #switching: Switching;
  readonly #paths: BlockPaths;
  #attached: readonly AttachedPlugin[] = [];
  /** Of the view that it was made for. */
  #parameters: { readonly view: View; readonly list: readonly TrainableParameter[] } | null = null;

  constructor(base: BaseModel, switching: Switching) {
    this.sites = base.sites;
    this.#base = base;
    this.#switching = switching;
    this.#paths = blockPaths(base.sites);
  }

  /** In the order of `use`. */
  get attached(): readonly AttachedPlugin[] {
    return this.#attached;
  }

  /** Number of transformer blocks. */
  get blocks(): number {
    return this.#paths.size;
  }

  /**
   * Adds a plug-in, which steers the runs that begin from now on.
   * @throws PeftError `CONFIG_INVALID`, `PLUGIN_EXISTS`, `PLUGIN_CONFLICT`.
   */
  attach<Config extends object>(options: AttachPluginOptions<Config>): void {
    this.#attached = withPlugin(this.#attached, options);
  }

  /** Takes a plug-in away; nothing happens when it is not in use. */
  detach(name: string): void {
    this.#attached = this.#attached.filter(({ plugin }) => plugin.name !== name);
  }

  /** What is known of everything that learns, in the order of `PeftModel.trainable()`. */
  parameters(): readonly TrainableParameter[] {
    const { view, learning } = this.#switching;
    if (this.#parameters?.view !== view) {
      const list = trainableParameters(this.#base, { adapters: learning, view, paths: this.#paths });
      this.#parameters = { view, list };
    }
    return this.#parameters.list;
  }

  /** Index of the transformer block that a key of `PeftModel.trainable()` or `state()` lies in; null outside. */
  blockOf(key: string): number | null {
    return blockOf(this.#paths, key.slice(key.indexOf(".") + 1));
  }

  /** Blocks in which adapters that learn add something to a layer's output. */
  responsive(): ReadonlySet<number> {
    const { view, learning } = this.#switching;
    const layers = [...view.layers.values()].flat().filter(({ adapter }) => learning.includes(adapter));
    return new Set(layers.flatMap(({ layer: { site } }) => site.block ?? []));
  }

  /** How the plug-ins want a parameter to learn, on top of what its method says. */
  group(key: string, own: ParameterGroup): ParameterGroup {
    if (this.#attached.length === 0) return own;
    return combinedGroup(own, { plugins: this.#attached, parameter: this.#parameter(key) });
  }

  /**
   * The update that a plug-in has for a parameter instead of the optimizer's.
   * @throws PeftError `PLUGIN_CONFLICT` when two have one.
   */
  rule(key: string): ParameterRule | null {
    return this.#attached.length === 0 ? null : ruleOf(this.#attached, this.#parameter(key));
  }

  #parameter(key: string): TrainableParameter {
    const found = this.parameters().find((parameter) => parameter.key === key);
    if (found !== undefined) return found;
    throw new PeftError("PARAMETER_UNKNOWN", `"${key}" is no trainable parameter of the current structure.`);
  }
}

/** The plug-ins of a model with one more. */
export function withPlugin<Config extends object>(
  plugins: readonly AttachedPlugin[],
  { plugin, config = {} }: AttachPluginOptions<Config>,
): readonly AttachedPlugin[] {
  const same = plugins.find((other) => other.plugin.name === plugin.name);
  if (same !== undefined) {
    throw new PeftError("PLUGIN_EXISTS", `The plug-in "${plugin.name}" is in use already. Use it once per model.`);
  }
  const rival = plugins.find(
    ({ plugin: other }) => other.exclusive !== undefined && other.exclusive === plugin.exclusive,
  );
  if (rival !== undefined) {
    throw new PeftError(
      "PLUGIN_CONFLICT",
      `The plug-ins "${rival.plugin.name}" and "${plugin.name}" both decide the ${plugin.exclusive} of a step. Use one of them.`,
    );
  }
  return [...plugins, { plugin: plugin as unknown as TrainingPlugin, config: parseConfig(plugin, config) }];
}

/** How a parameter learns by its method (`own`) and the plug-ins: factors multiply, of other values the last one counts. */
function combinedGroup(
  own: ParameterGroup,
  { plugins, parameter }: { readonly plugins: readonly AttachedPlugin[]; readonly parameter: TrainableParameter },
): ParameterGroup {
  return plugins.reduce<ParameterGroup>((group, { plugin, config }) => {
    const more = plugin.parameterGroup?.(parameter, config) ?? {};
    return { ...group, ...more, lrScale: (group.lrScale ?? 1) * (more.lrScale ?? 1) };
  }, own);
}

/**
 * The rule that a plug-in has for a parameter.
 * @throws PeftError `PLUGIN_CONFLICT` when two have one.
 */
function ruleOf(plugins: readonly AttachedPlugin[], parameter: TrainableParameter): ParameterRule | null {
  const found = plugins.flatMap(({ plugin, config }) => {
    const rule = plugin.parameterRule?.(parameter, config) ?? null;
    return rule === null ? [] : [{ rule, name: plugin.name }];
  });
  const [first, second] = found;
  if (first !== undefined && second !== undefined) {
    throw new PeftError(
      "PLUGIN_CONFLICT",
      `The plug-ins "${first.name}" and "${second.name}" both update "${parameter.key}". Use one of them, or give them different targets.`,
    );
  }
  return first?.rule ?? null;
}
