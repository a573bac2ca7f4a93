import { bitfit, full, head } from "@peftjs/method-classic";
import { adalora, dora, eva, lora, loraplus, olora, pissa, rslora } from "@peftjs/method-lora-family";
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
    .use(full);
}
