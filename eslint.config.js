import eslint from "@eslint/js";
import nx from "@nx/eslint-plugin";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const ignored = [
  "**/dist/",
  "**/node_modules/",
  "**/.nx/",
  "**/coverage/",
  "**/fixtures/",
  "bench-results/",
  "tools/pretrain/artifacts/",
];
const tests = ["**/*.test.ts", "**/test/**/*.ts", "packages/testkit/src/**/*.ts"];
const configFiles = ["**/*.config.ts", "**/*.config.js", "vitest.shared.ts"];
/** Packages that write to the terminal: everything else is a library and stays silent. */
const commands = [
  "packages/cli/src/**/*.ts",
  "packages/bench/src/**/*.ts",
  "packages/*/src/bin.ts",
  "packages/*/examples/**/*.ts",
  "tools/**",
];
const plugIns = ["packages/method-*/src/**/*.ts", "packages/ist/src/**/*.ts", "packages/galore/src/**/*.ts"];

/** What each scope may depend on: arrows only point down, and a plug-in sees the core alone. */
const depConstraints = [
  { sourceTag: "scope:core", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:engine", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:model", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:data", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:train", onlyDependOnLibsWithTags: ["scope:core", "scope:engine"] },
  { sourceTag: "scope:method", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:plugin", onlyDependOnLibsWithTags: ["scope:core"] },
  { sourceTag: "scope:app", onlyDependOnLibsWithTags: ["*"] },
  { sourceTag: "scope:tool", onlyDependOnLibsWithTags: ["*"] },
];

/** Tests of the lower packages use the testkit, which uses them: a cycle of development dependencies only. */
const ignoredCircularDependencies = ["core", "engine", "models", "data", "train"].map((name) => [
  `@peftjs/${name}`,
  "@peftjs/testkit",
]);

/** TypeScript that only erases, and one way to say each thing. */
const bannedSyntax = [
  { selector: "ExportDefaultDeclaration", message: "Export by name." },
  { selector: "TSEnumDeclaration", message: "Use a union of strings." },
  { selector: "TSModuleDeclaration[kind='namespace']", message: "Use a module." },
  { selector: "Decorator", message: "Call a function." },
  { selector: "ExportAllDeclaration[exportKind='value']", message: "Re-export by name." },
  { selector: "ImportExpression[source.value=/^[.].*[.]js$/]", message: "Import sources: end in .ts." },
];

const bannedImports = [
  { regex: "^\\.{1,2}/(?!.*\\.(ts|json)$)", message: "End relative imports in .ts." },
  { regex: "^@peftjs/[^/]+/(src|dist)/", message: "Import a package by its name." },
  {
    regex: "^@tensorflow/tfjs(-node|-node-gpu)?$",
    message: "Import @tensorflow/tfjs-core; backends are chosen at run time.",
  },
];

export default defineConfig(
  globalIgnores(ignored),
  eslint.configs.recommended,
  {
    files: ["**/*.js", "**/*.mjs"],
    languageOptions: {
      globals: {
        console: "readonly",
        process: "readonly",
        URL: "readonly",
        setTimeout: "readonly",
        clearTimeout: "readonly",
      },
    },
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strict, tseslint.configs.stylistic],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-restricted-syntax": ["error", ...bannedSyntax],
      "no-restricted-imports": ["error", { patterns: bannedImports }],
      "no-restricted-properties": [
        "error",
        { object: "Math", property: "random", message: "Randomness is an argument: take a Generator." },
      ],
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_|Schema$", ignoreRestSiblings: true },
      ],
      // Index arithmetic over typed arrays is full of values that are known to exist.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/consistent-type-definitions": "off",
      "@typescript-eslint/prefer-for-of": "off",
      "@typescript-eslint/no-empty-function": "off",
      // Text normalization is about control characters.
      "no-control-regex": "off",
    },
  },
  {
    files: ["packages/*/src/**/*.ts", "tools/*/src/**/*.ts"],
    ignores: tests,
    plugins: { "@nx": nx },
    rules: {
      "@nx/enforce-module-boundaries": [
        "error",
        { depConstraints, ignoredCircularDependencies, enforceBuildableLibDependency: false },
      ],
      "max-lines": ["error", { max: 300 }],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
      "max-params": ["error", { max: 5 }],
    },
  },
  {
    files: plugIns,
    ignores: tests,
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            ...bannedImports,
            {
              regex: "^(?!\\.{1,2}/|@peftjs/core(/internal)?$|@tensorflow/tfjs-core$|zod$)",
              message: "A method depends on @peftjs/core and tfjs only.",
            },
          ],
        },
      ],
    },
  },
  { files: ["packages/*/src/**/*.ts"], ignores: [...tests, ...commands], rules: { "no-console": "error" } },
  { files: configFiles, rules: { "no-restricted-syntax": "off" } },
);
