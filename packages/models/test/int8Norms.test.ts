import { inputScales, isInt8, quantize, type HostTensor, type LayerSite, type StoredTensor } from "@peftjs/core";
import { expect, it } from "vitest";
import { architectureRegistry, builtInArchitectures, fromConfig, roberta, type Frozen } from "../src/index.ts";
import { tinyConfig } from "./support/tinyConfig.ts";

type Parameters = ReadonlyMap<string, StoredTensor>;

const QUERY = "encoder.layer.1.attention.self.query.weight";
const FIRST = "embeddings.LayerNorm";
const READ = "encoder.layer.0.output.LayerNorm";

/** A family of its own whose sites are others, and which may have normalisations that share their memory. */
function drawn(
  frozen: Frozen,
  { site = (own) => own, tied = false }: { readonly site?: (own: LayerSite) => LayerSite; readonly tied?: boolean },
): Parameters {
  const other: typeof roberta = {
    ...roberta,
    modelType: "other",
    parameters: (...args) =>
      roberta
        .parameters(...args)
        .map((spec) =>
          tied && spec.name.startsWith(READ) ? { ...spec, tiedTo: spec.name.replace(READ, FIRST) } : spec,
        ),
    sites: (...args) => roberta.sites(...args).map(site),
  };
  const config = { ...tinyConfig, model_type: "other" };
  const architectures = architectureRegistry(...builtInArchitectures.values(), other);
  return fromConfig(config, { head: "none", seed: 5, frozen, architectures }).parameters;
}

const valuesOf = (parameters: Parameters, name: string): HostTensor => parameters.get(name) as HostTensor;

it("a family need not say which normalisations its layers read", () => {
  const wide = drawn("float32", {});
  const held = drawn("int8", { site: ({ norm: _, ...own }) => own });
  const quantized = [...held].filter(([, tensor]) => isInt8(tensor));
  expect(quantized).toHaveLength(2 * 6 + 1);
  for (const [name, tensor] of quantized) expect(tensor, name).toEqual(quantize(valuesOf(wide, name), { axis: 0 }));
});

it("a normalisation may share its memory with another one", () => {
  const wide = valuesOf(drawn("float32", {}), QUERY);
  const held = drawn("int8", { tied: true });
  expect(held.get(`${READ}.weight`)).toBe(held.get(`${FIRST}.weight`));
  const norm = { weight: valuesOf(held, `${READ}.weight`).data, bias: valuesOf(held, `${READ}.bias`).data };
  expect(held.get(QUERY)).toEqual(quantize(wide, { axis: 0, inputScales: inputScales(wide, { axis: 0, norm }) }));
});

it("one that the family does not list is an error that names it", () => {
  const site = (own: LayerSite): LayerSite => ({ ...own, norm: { weight: "gain", bias: null } });
  expect(() => drawn("int8", { site })).toThrow(
    expect.objectContaining({ code: "ARCHITECTURE_INVALID", message: expect.stringContaining('"gain"') as string }),
  );
  // Nothing asks for it where nothing is held in eight bits.
  expect(drawn("float16", { site }).get(QUERY)?.dtype).toBe("float16");
});
