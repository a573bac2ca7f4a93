// Checks the published packages as what they are to users: packed tarballs. Each is linted by publint and attw, then
// they are installed with npm in an empty folder, without install scripts, and used by a small program and the CLI.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { packages, root } from "./workspace.mjs";

const headings = [
  "What is this?",
  "When should I use it?",
  "Install",
  "Use",
  "API",
  "Configuration",
  "Compatibility",
  "References",
];
/** What the consumer imports; the rest of the packages are installed for the command line. */
const library = ["core", "engine", "models", "train"];

const tarballs = path.join(root, "dist", "tarballs");
const bin = (name) => path.join(root, "node_modules", ".bin", name);
const shell = process.platform === "win32";
let failures = 0;

function report(ok, title, detail) {
  console.log(`${ok ? "passed" : "FAILED"}  ${title}`);
  if (ok) return;
  failures += 1;
  if (detail) console.log(detail.trimEnd());
}

function execute(command, args, cwd = root) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    shell,
    encoding: "utf8",
    timeout: 300_000,
    maxBuffer: 64 << 20,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return {
    ok: status === 0,
    stdout: stdout ?? "",
    output: `${stdout ?? ""}${stderr ?? ""}${error ? String(error) : ""}`,
  };
}

/** What the folder of a package must hold, whatever the tools say. */
function problemsOf({ folder, json }) {
  const problems = [];
  const text = (name) => (existsSync(path.join(folder, name)) ? readFileSync(path.join(folder, name), "utf8") : "");
  if (!text("LICENSE").includes("Apache License") || json.license !== "Apache-2.0")
    problems.push("LICENSE is not Apache-2.0");
  const found = [...text("README.md").matchAll(/^## (.+)$/gm)].map((match) => match[1].trim());
  const common = found.filter((heading) => headings.includes(heading));
  if (common.join() !== headings.join()) {
    problems.push(
      `README.md needs the headings ${headings.join(" · ")} in this order; found: ${found.join(" · ") || "none"}`,
    );
  }
  for (const section of ["preinstall", "install", "postinstall", "prepare"]) {
    if (json.scripts?.[section]) problems.push(`"${section}" script: no package may run a script when it is installed`);
  }
  return problems;
}

/** What the packed package.json must not hold. */
function problemsOfTarball(file) {
  const { stdout } = execute("tar", ["-xzOf", file, "package/package.json"]);
  const { stdout: list } = execute("tar", ["-tzf", file]);
  const packed = JSON.parse(stdout);
  const problems = [];
  if (/"(workspace|catalog):/.test(stdout)) problems.push("package.json still holds a workspace: or catalog: version");
  if (JSON.stringify(packed.exports).includes("@peftjs/source")) problems.push("exports still name the sources");
  if (/^package\/(src|test)\//m.test(list)) problems.push("holds sources or tests");
  for (const target of Object.values(packed.bin ?? {})) {
    if (!list.split("\n").includes(path.posix.join("package", target))) problems.push(`bin ${target} is missing`);
  }
  return problems;
}

function pack(published) {
  rmSync(tarballs, { recursive: true, force: true });
  mkdirSync(tarballs, { recursive: true });
  const packed = new Map();
  for (const { folder, json } of published) {
    const { ok, output } = execute(bin("pnpm"), ["pack", "--pack-destination", tarballs], folder);
    const name = `${json.name.replace("@", "").replace("/", "-")}-${json.version}.tgz`;
    if (ok && readdirSync(tarballs).includes(name)) packed.set(json.name, path.join(tarballs, name));
    else report(false, `${json.name}: pack`, output);
  }
  return packed;
}

function lintTarball(name, file) {
  const publint = execute(bin("publint"), [file, "--strict"]);
  report(publint.ok, `${name}: publint`, publint.output);
  const attw = execute(bin("attw"), [file, "--profile", "esm-only", "--no-color", "--no-emoji"]);
  report(attw.ok, `${name}: attw`, attw.output);
  const problems = problemsOfTarball(file);
  report(problems.length === 0, `${name}: contents`, problems.join("\n"));
}

/** Gives `use` an empty folder and a function that installs tarballs there with npm, as a user does. */
function inEmptyFolder(packed, use) {
  const folder = mkdtempSync(path.join(tmpdir(), "peftjs-consumer-"));
  const install = (names, title) => {
    const files = names.map((name) => packed.get(name)).filter((file) => file !== undefined);
    const npm = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", ...files];
    const { ok, output } = execute("npm", npm, folder);
    report(ok && files.length === names.length, title, output);
    return ok;
  };
  try {
    writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
    use({ folder, install });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Copies files of tools/ci into the folder and runs the last one. */
function runProgram(folder, files, title) {
  for (const file of files) copyFileSync(path.join(root, "tools", "ci", file), path.join(folder, path.basename(file)));
  const program = execute(process.execPath, [path.basename(files.at(-1))], folder);
  report(program.ok, title, program.output);
  if (program.ok) console.log(program.output.trimEnd());
}

function consume({ folder, install }) {
  const names = [...library, "method-lora-family"];
  if (!install(names.map(scoped), `npm install ${names.join(" ")}`)) return;
  runProgram(folder, ["consumer.mjs"], "a program that uses the packed packages");
  if (!install([...packed.keys()], "npm install of every package")) return;
  const cli = execute("npx", ["--no-install", "peftjs", "methods", "--json"], folder);
  report(cli.ok && isMethodList(cli.stdout), "npx peftjs methods --json", cli.output);
}

/** Somebody else's method: no package of the project provides one here. */
function writeMethod({ folder, install }) {
  if (!install(library.map(scoped), `npm install ${library.join(" ")}, without a method`)) return;
  runProgram(folder, ["third-party/vera.mjs", "third-party/program.mjs"], "a method written outside the workspace");
}

function scoped(name) {
  return `@peftjs/${name}`;
}

function isMethodList(text) {
  try {
    const methods = JSON.parse(text);
    return methods.length > 0 && methods.every((method) => method.name && method.package && method.description);
  } catch {
    return false;
  }
}

const published = packages().filter(({ json }) => !json.private);
for (const entry of published) {
  const problems = problemsOf(entry);
  report(problems.length === 0, `${entry.json.name}: folder`, problems.join("\n"));
}
const packed = pack(published);
for (const [name, file] of packed) lintTarball(name, file);
inEmptyFolder(packed, consume);
inEmptyFolder(packed, writeMethod);
console.log(failures === 0 ? `All ${published.length} packages passed.` : `${failures} package checks failed.`);
process.exitCode = failures === 0 ? 0 : 1;
