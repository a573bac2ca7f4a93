import type { MethodsFile, RowSettings } from "./experiment.ts";
import type { FrozenSetting } from "./frozen.ts";
import { unknownName } from "./unknownName.ts";

/** What rows of the table can be made of. */
export interface RowNames {
  readonly settings: MethodsFile;
  /** Names of all registered methods and plug-ins. */
  readonly methods: readonly string[];
  readonly plugins: readonly string[];
}

/** How a row of the table is trained. */
export interface Row {
  readonly method: string;
  readonly learningRate: number;
  readonly config: Readonly<Record<string, unknown>>;
  /** Configs by plug-in. */
  readonly plugins: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Absent where nothing says it. */
  readonly frozen?: FrozenSetting;
}

const SEPARATOR = "+";
/** Of rows that nothing else says it of. */
const LEARNING_RATE = 1e-3;

/**
 * The rows that a list names: a registered method, a row of the settings, or one of these with additions (`lora+ist`); "all" stands for
 * every method and its variants without plug-ins.
 * @throws PeftError `METHOD_UNKNOWN`, `PLUGIN_UNKNOWN`.
 */
export function chooseRows(names: "all" | readonly string[], known: RowNames): string[] {
  const all = allRows(known);
  const chosen = [names].flat().flatMap((name) => (name === "all" ? all : [name]));
  const rows = [...new Set([...known.methods, ...Object.keys(known.settings).filter(isRow)])];
  const entries = Object.keys(known.settings).flatMap((name) => additionOf(name) ?? []);
  const additions = [...new Set([...known.plugins, ...entries])];
  for (const name of chosen) {
    const [row = "", ...added] = name.split(SEPARATOR);
    if (!rows.includes(row)) throw unknownName({ code: "METHOD_UNKNOWN", what: "method", name: row, known: rows });
    const strange = added.find((addition) => !additions.includes(addition));
    if (strange !== undefined)
      throw unknownName({ code: "PLUGIN_UNKNOWN", what: "addition", name: strange, known: additions });
  }
  return [...new Set(chosen)];
}

/**
 * What a row's name stands for. Its own settings, else the default ones; for `ROW+ADDITION` those of the row, over them those of the
 * addition (an entry `+ADDITION`; a plug-in without one is used as it is), over them those of an entry of the whole name.
 */
export function rowOf(name: string, settings: MethodsFile): Row {
  const [first = "", ...additions] = name.split(SEPARATOR);
  const own = settings[first] ?? settings["default"] ?? {};
  const row: Row = merged({ method: first, learningRate: LEARNING_RATE, config: {}, plugins: {} }, own);
  const over = additions.map((addition) => settings[SEPARATOR + addition] ?? { plugins: { [addition]: {} } });
  return [...over, ...(additions.length === 0 ? [] : [settings[name] ?? {}])].reduce(merged, row);
}

function merged(row: Row, { plugins, ...over }: RowSettings): Row {
  return { ...row, ...over, plugins: { ...row.plugins, ...plugins } };
}

/** Every method, and behind it the rows of the settings that are variants of it. */
function allRows({ methods, settings }: RowNames): string[] {
  const variantsOf = (method: string): string[] =>
    Object.entries(settings).flatMap(([name, entry]) =>
      isRow(name) && entry.method === method && entry.plugins === undefined ? [name] : [],
    );
  return methods.flatMap((method) => [method, ...variantsOf(method)]);
}

function isRow(name: string): boolean {
  return name !== "default" && !name.includes(SEPARATOR);
}

function additionOf(name: string): string | null {
  return name.startsWith(SEPARATOR) ? name.slice(SEPARATOR.length) : null;
}
