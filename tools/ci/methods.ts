// Writes METHODS.md from the methods and training plug-ins themselves, and in the READMEs what stands between `<!-- options: NAME -->` and
// `<!-- end of options -->`; with --check, fails when one of the files is out of date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as prettier from "prettier";
import { quantizedBase, type Method } from "../../packages/core/src/method/method.ts";
import { parseConfig } from "../../packages/core/src/method/parseConfig.ts";
import type { TrainingPlugin } from "../../packages/core/src/plugin/plugin.ts";
import { registeredMethods } from "../../packages/bench/src/methods.ts";
import { registeredPlugins } from "../../packages/bench/src/plugins.ts";

interface Property {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Property[];
  readonly items?: Property;
  readonly default?: unknown;
  readonly description?: string;
}

interface Zod {
  toJSONSchema(schema: unknown, options: object): { readonly properties?: Readonly<Record<string, Property>> };
}

// The workspace's root depends on no library; core's copy is found where core finds it.
const require = createRequire(new URL("../../packages/core/package.json", import.meta.url));
const { z } = require("zod") as { readonly z: Zod };

/** What a method makes of weights in eight bits with its default config. */
const onInt8 = { output: "layer's output", values: "dequantized values", false: "no" } as const;
const tick = (claim: boolean) => (claim ? "yes" : "no");
const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (rows: readonly (readonly string[])[]) => {
  const [head, ...body] = rows.map((row) => `| ${row.map(cell).join(" | ")} |`);
  return [head, `|${" --- |".repeat(rows[0]?.length ?? 0)}`, ...body].join("\n");
};

function typeOf({ type, enum: values, anyOf, items }: Property): string {
  if (values !== undefined) return values.map((value) => JSON.stringify(value)).join(" or ");
  if (anyOf !== undefined) return [...new Set(anyOf.map(typeOf))].join(" or ");
  if (type === "array" && items !== undefined) return `list of ${typeOf(items)}`;
  return [type ?? "any"].flat().join(" or ");
}

function capabilities(methods: readonly Method[]): string {
  const head = [
    "Method",
    "Package",
    "Merges",
    "Several at once",
    "Starts as the base model",
    "Needs data",
    "On int8 weights",
    "`peft_type`",
  ];
  const rows = methods.map((method) => {
    const { name, package: from, capabilities: can, wire } = method;
    return [
      `\`${name}\``,
      `\`${from}\``,
      tick(can.merge),
      tick(can.multiAdapter),
      tick(can.identityAtStart),
      tick(can.needsData === true),
      onInt8[String(quantizedBase(method, parseConfig(method, {}))) as keyof typeof onInt8],
      `\`${wire.peftType}\``,
    ];
  });
  return table([head, ...rows]);
}

function steering(plugins: readonly TrainingPlugin[]): string {
  const rows = plugins.map((plugin) => [
    `\`${plugin.name}\``,
    `\`${plugin.package}\``,
    tick(plugin.parameterGroup !== undefined),
    tick(plugin.parameterRule !== undefined),
    plugin.exclusive ?? "",
  ]);
  return table([["Plug-in", "Package", "Sets learning rates", "Updates by itself", "Alone decides"], ...rows]);
}

function options({ config }: Pick<Method, "config"> | Pick<TrainingPlugin, "config">): string {
  const { properties = {} } = z.toJSONSchema(config, { io: "input", unrepresentable: "any" });
  const rows = Object.entries(properties).map(([option, property]) => [
    `\`${option}\``,
    typeOf(property),
    property.default === undefined ? "" : `\`${JSON.stringify(property.default)}\``,
    property.description ?? "",
  ]);
  return rows.length === 0 ? "No options." : table([["Option", "Type", "Default", "Meaning"], ...rows]);
}

const methods = registeredMethods().list();
const plugins = registeredPlugins();

function overview(): string {
  const parts = [
    "# Methods",
    "What each method can do and its options, and the training plug-ins that go with any of them, written from the code by `npm run methods`.",
    capabilities(methods),
    'On int8 weights: what a method with its default options works with where frozen weights are held in eight bits (`frozen: "int8"`). ' +
      "The layer's output: the weights stay in eight bits. Dequantized values: it reads, replaces or trains weights, and is given their " +
      "values; the README of its package says what that costs.",
    ...methods.map((method) => `## ${method.name}\n\n${method.description}\n\n${options(method)}`),
    "## Training plug-ins",
    "They steer training and leave the layers as they are: `peft(base).use(method).use(plugin)`.",
    steering(plugins),
    ...plugins.map((plugin) => `### ${plugin.name}\n\n${plugin.description}\n\n${options(plugin)}`),
  ];
  return `${parts.join("\n\n")}\n`;
}

function withOptions(readme: string): string {
  return readme.replaceAll(
    /(<!-- options: (\S+) -->\n)[^]*?(<!-- end of options -->)/g,
    (_, start: string, name: string, end: string) => {
      const owner = [...methods, ...plugins].find((other) => other.name === name);
      if (owner === undefined) throw new Error(`No method or plug-in "${name}" is registered.`);
      return `${start}\n${options(owner)}\n\n${end}`;
    },
  );
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const style = await prettier.resolveConfig(path.join(root, "METHODS.md"));
const readmes = readdirSync(path.join(root, "packages"))
  .map((name) => path.join("packages", name, "README.md"))
  .filter((name) => existsSync(path.join(root, name)))
  .map((name) => ({ name, text: readFileSync(path.join(root, name), "utf8") }))
  .filter(({ text }) => text.includes("<!-- options: "))
  .map(({ name, text }) => ({ name, text: withOptions(text) }));
const check = process.argv.includes("--check");
for (const { name, text } of [{ name: "METHODS.md", text: overview() }, ...readmes]) {
  const file = path.join(root, name);
  const wanted = await prettier.format(text, { ...style, parser: "markdown" });
  const current = existsSync(file) && readFileSync(file, "utf8") === wanted;
  if (check && !current) {
    console.log(`${name} is out of date: run npm run methods.`);
    process.exitCode = 1;
  } else if (!current) {
    writeFileSync(file, wanted);
    console.log(`Wrote ${name}.`);
  }
}
