import type * as tf from "@tensorflow/tfjs-core";
import { LayeredForward, type LayeredForwardOptions } from "../model/layeredForward.ts";
import type { BaseModel } from "../model/model.ts";
import type { Program, TensorRunner } from "../runner.ts";
import type { HostTensor, Named } from "../tensors.ts";
import { bareView, type View } from "./view.ts";
import { keyOf } from "./viewKeys.ts";

/** One traced run of the base model in evaluation, without adapters. */
export interface BareRun {
  readonly batch: Named<tf.Tensor>;
  parameter(name: string): tf.Tensor;
  forward(observe?: LayeredForwardOptions["observe"]): Named<tf.Tensor>;
}

export interface BareProgram {
  run(batch: Named<HostTensor>): Promise<Named<HostTensor>>;
  dispose(): Promise<void>;
}

/** What `find` takes from runs of the base model, as a program that is compiled when it is first needed. */
export function bareProgram(
  base: BaseModel,
  { runner, find }: { readonly runner: TensorRunner; readonly find: (run: BareRun) => Named<tf.Tensor> },
): BareProgram {
  const open = (): { readonly program: Program; readonly frozen: View["frozen"] } => {
    const view = bareView(base);
    const sites = new Map(base.sites.map((site) => [site.path, site]));
    const program = runner.compile(
      ({ frozen = {}, batch = {} }) => ({
        found: find({
          batch,
          parameter: (name) => frozen[keyOf(view, name)] as tf.Tensor,
          forward: (observe) =>
            base.forward(new LayeredForward({ sites, view, tensors: [frozen], training: false, observe }), batch),
        }),
      }),
      { constant: ["frozen"] },
    );
    return { program, frozen: view.frozen };
  };
  let opened: ReturnType<typeof open> | null = null;
  return {
    run: async (batch) => {
      opened ??= open();
      const { found = {} } = await opened.program.run({ frozen: opened.frozen, batch });
      return found;
    },
    dispose: async () => {
      await opened?.program.dispose();
      opened = null;
    },
  };
}
