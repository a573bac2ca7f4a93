import { registeredMethods, registeredPlugins, unknownName } from "@peftjs/bench";
import { Command } from "commander";
import type { FieldFlag } from "../options/fields.ts";
import { methodFlags, pluginFlags } from "./trainOptions.ts";

/** `methods`: what `--method` and `--use` accept. */
export function methodsCommand(): Command {
  return new Command("methods")
    .description("List the registered methods and training plug-ins, or the settings of one.")
    .argument("[name]", "method or plug-in whose settings are listed")
    .option("--json", "print JSON")
    .action((name: string | undefined, flags: { readonly json?: boolean }) => {
      process.stdout.write(
        `${name === undefined ? everything(flags.json === true) : one(name, flags.json === true)}\n`,
      );
    });
}

function everything(asJson: boolean): string {
  const rows = [
    ...registeredMethods()
      .list()
      .map((method) => ({ ...method, kind: "method" })),
    ...registeredPlugins().map((plugin) => ({ ...plugin, kind: "plug-in" })),
  ].map(({ name, kind, package: from, description }) => ({ name, kind, package: from, description }));
  return asJson
    ? JSON.stringify(rows)
    : columns(rows.map(({ name, kind, package: from, description }) => [name, kind, from, description]));
}

function one(name: string, asJson: boolean): string {
  const rows = flagsOf(name).map(({ flag, description }) => ({ flag: `--${flag}`, description }));
  return asJson ? JSON.stringify(rows) : columns(rows.map((row) => [row.flag, row.description]));
}

function flagsOf(name: string): FieldFlag[] {
  const plugin = registeredPlugins().find((other) => other.name === name);
  if (plugin !== undefined) return pluginFlags(plugin);
  const methods = registeredMethods().list();
  const method = methods.find((other) => other.name === name);
  if (method !== undefined) return methodFlags(method);
  const known = [...methods, ...registeredPlugins()].map((other) => other.name);
  throw unknownName({ code: "METHOD_UNKNOWN", what: "method or plug-in", name, known });
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
