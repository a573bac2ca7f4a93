import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { publicAdapters, publicNames } from "../../test/safetensors.ts";
import { added } from "../../test/tiny.ts";
import type { Method } from "../index.ts";
import { fromAdapterConfig, serializeConfig } from "./adapterConfig.ts";

describe.skipIf(publicNames.length === 0)("a config that the Python library wrote", () => {
  it.each(publicNames)("comes back as it was: %s", (name) => {
    const text = readFileSync(join(publicAdapters, name, "adapter_config.json"), "utf8");
    const json = JSON.parse(text) as Record<string, unknown>;
    expect(serializeConfig(json)).toBe(text.replace(/: (\d+)\.0(?=[,\n])/gu, ": $1"));
    const method = added as unknown as Method;
    const { config, rest } = fromAdapterConfig(method, json);
    expect(config["targetModules"]).toEqual(json["target_modules"]);
    expect(rest["megatron_core"]).toBe("megatron.core");
  });
});
