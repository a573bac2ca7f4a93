import { loadAdapter, MethodRegistry, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  logits,
  readAdapterConfig,
  readAdapterTensors,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { sift } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";
import { attach, batchAt, tinyRoberta, train } from "./single.ts";

const fresh = scratchFolders();
const methods = new MethodRegistry().use(sift);

describeOnEngines("SIFT as SHiRA", (engine) => {
  const output = async (model: PeftModel): Promise<HostTensor["data"]> =>
    (await logits(model, { engine: engine(), batch: batchAt(9) })).data;

  async function trained(config: Partial<SiftConfig>): Promise<PeftModel> {
    const model = await attach(config, { base: tinyRoberta(), engine: engine() });
    await train(model, { engine: engine() });
    return model;
  }

  it.each([
    ["the budget of a rank", { loraRank: 2 }, 2],
    ["a rate, filled up", { rate: 0.2, includeBias: false }, 2],
    ["values that are the weights themselves", { loraRank: 1, weightDecayMode: "weight" }, 1],
  ] as const)("%s: written and read back, it computes the same", async (_, config, rank) => {
    const model = await trained({ ...config, targetModules: ["query", "intermediate.dense"] });
    const dir = await saveAdapter(model, { dir: fresh(), as: "shira" });
    expect(readAdapterConfig(dir)).toMatchObject({ peft_type: "SHIRA", r: rank, mask_type: "random" });
    const tensors = await readAdapterTensors(dir);
    const path = "base_model.model.roberta.encoder.layer.0.intermediate.dense";
    const [values, places] = [tensors.get(`${path}.shira_weight`)!, tensors.get(`${path}.shira_indices`)!];
    expect([values.shape, places.shape, places.dtype]).toEqual([[rank * 40], [2, rank * 40], "int32"]);
    const own = model.adapters.get("default")!.buffers.get(`${path.slice("base_model.model.".length)}.indices`)!;
    const count = rank * 40;
    const flat = Array.from({ length: count }, (_, n) => places.data[n]! * 16 + places.data[count + n]!);
    expect(new Set(flat).size).toBe(count);
    for (const place of own.data) expect(flat).toContain(place);

    const again = new PeftModel(tinyRoberta());
    await loadAdapter(again, { dir, methods });
    expect(again.adapters.get("default")!.config).toMatchObject({ loraRank: rank, rate: null });
    expect(relativeDifference(await output(again), await output(model))).toBeLessThan(1e-6);
    expect(relativeDifference(await output(model), await model.disable(() => output(model)))).toBeGreaterThan(1e-3);
  });

  it("is refused where biases have learned", async () => {
    const model = await trained({ rate: 0.2 });
    await expect(saveAdapter(model, { dir: fresh(), as: "shira" })).rejects.toThrow(
      expect.objectContaining({
        code: "INTERCHANGE_UNSUPPORTED",
        message: expect.stringContaining("includeBias: false") as string,
      }) as Error,
    );
  });
});
