/**
 * Runs the tests that compare engines with tfjs-node as the eager one, and says which of them differ for another reason than
 * those that differences.json names. See README.md.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const build = () => execFileSync(join(here, "build.sh"), { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const main = process.env.PEFTJS_TFJS_NODE ?? build().trim();
const env = { ...process.env, PEFTJS_TFJS_NODE: main, PEFTJS_EAGER_BACKEND: "tensorflow", TF_CPP_MIN_LOG_LEVEL: "3" };
const known = JSON.parse(readFileSync(join(here, "differences.json"), "utf8"));

/** Every test of a package's run, by its full name. */
function testsOf(name, filter) {
  const folder = mkdtempSync(join(tmpdir(), "peftjs-"));
  const report = join(folder, "report.json");
  const cwd = join(here, "..", "..", "packages", name);
  spawnSync("npx", ["vitest", "run", filter, "--reporter=json", `--outputFile=${report}`], {
    cwd,
    env,
    stdio: "ignore",
  });
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  rmSync(folder, { recursive: true });
  for (const { name, status, assertionResults, message } of testResults) {
    if (status === "failed" && assertionResults.length === 0) throw new Error(`${name}: ${message}`);
  }
  return testResults.flatMap(({ assertionResults }) => assertionResults);
}

const tests = [...testsOf("engine", "test/"), ...testsOf("models", "test/engines.test.ts")];
const failed = tests.filter(({ status }) => status === "failed");
const unknown = failed.filter(({ fullName }) => !(fullName in known));
console.log(
  `${tests.length} tests, ${failed.length} differ, ${failed.length - unknown.length} of them for a known reason.`,
);
for (const { fullName, failureMessages } of unknown) console.log(`${fullName}\n  ${failureMessages[0]?.slice(0, 400)}`);
process.exitCode = unknown.length === 0 ? 0 : 1;
