import type { Graph } from "../graph.ts";
import { simplifyAlgebra } from "./algebra.ts";
import { dropBroadcasts } from "./broadcasts.ts";
import { chooseByConstant, foldUniform } from "./constants.ts";
import { removeIdentities } from "./identities.ts";
import { joinProducts, joinSums } from "./joins.ts";
import { mergeEqualCalls } from "./merge.ts";
import { joinTranspositions, shortenChains } from "./moves.ts";
import { narrowRows } from "./narrowRows.ts";
import { partsAsSlices } from "./parts.ts";
import { biasIntoProduct, scaleBehindMoves, scaleIntoProduct, transposeIntoProduct } from "./products.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass, withoutDeadNodes } from "./rewrite.ts";
import { skipZeroRows } from "./zeroRows.ts";

/** Passes in their order; each is tested by itself. */
export function passes(): readonly Pass[] {
  return [
    foldUniform,
    chooseByConstant,
    removeIdentities,
    partsAsSlices,
    shortenChains,
    skipZeroRows,
    narrowRows,
    dropBroadcasts,
    removeIdentities,
    simplifyAlgebra,
    joinTranspositions,
    shortenChains,
    transposeIntoProduct,
    mergeEqualCalls(),
    scaleIntoProduct,
    scaleBehindMoves,
    scaleIntoProduct,
    joinProducts,
    joinSums,
    biasIntoProduct,
    mergeEqualCalls(),
  ];
}

export function simplify(graph: Graph): Graph {
  return passes().reduce(applyPass, withoutDeadNodes(graph));
}
