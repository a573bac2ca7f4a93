import { bitfit, full, head, parallel, prefixTuning, promptTuning, pTuning, series } from "@peftjs/method-classic";
import { ia3 } from "@peftjs/method-ia3";
import { adalora, dora, eva, lora, loraplus, olora, pissa, rslora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";
import { sift } from "@peftjs/method-sift";
import { MethodRegistry } from "@peftjs/core";

/**
 * Every method that the bench compares and the command line offers, in the order of the table.
 * A new method appears everywhere by being added here.
 */
export function registeredMethods(): MethodRegistry {
  return new MethodRegistry()
    .use(head)
    .use(bitfit)
    .use(lora)
    .use(rslora)
    .use(loraplus)
    .use(dora)
    .use(adalora)
    .use(pissa)
    .use(olora)
    .use(eva)
    .use(ia3)
    .use(rocoft)
    .use(sift)
    .use(series)
    .use(parallel)
    .use(promptTuning)
    .use(prefixTuning)
    .use(pTuning)
    .use(full);
}
