import type { Graph } from "../graph.ts";
import { simplifyAlgebra } from "./algebra.ts";
import { dropBroadcasts } from "./broadcasts.ts";
import { chooseByConstant, foldUniform } from "./constants.ts";
import { removeIdentities } from "./identities.ts";
import { gateParts } from "./gates.ts";
import { joinProducts, joinSums } from "./joins.ts";
import { mergeEqualCalls } from "./merge.ts";
import { joinTranspositions, shortenChains } from "./moves.ts";
import { narrowRows } from "./narrowRows.ts";
import { partsAsSlices } from "./parts.ts";
import { biasIntoProduct, scaleBehindMoves, scaleIntoProduct, transposeIntoProduct } from "./products.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass, withoutDeadNodes } from "./rewrite.ts";
import { skipZeroRows } from "./zeroRows.ts";

/** Passes in their order; each is tested by itself. One round is enough: what later passes make is no food for earlier ones. */
function passes(): readonly Pass[] {
  return [
    // What is known without running comes first: it decides what is left to look at.
    foldUniform,
    removeIdentities,
    chooseByConstant,
    // Every way of taking a part becomes a slice, and chains of moves one move, so that the passes over rows see through them.
    partsAsSlices,
    shortenChains,
    // Gradients of rows before the rows themselves: rows that no gradient needs are not needed from the forward pass either.
    skipZeroRows,
    narrowRows,
    // Once rows are dropped broadcasts are as small as they get.
    dropBroadcasts,
    removeIdentities,
    simplifyAlgebra,
    // The passes above leave moves behind that meet now.
    joinTranspositions,
    shortenChains,
    // Products take up what surrounds them: transpositions first, because a scale passes them more easily when they are gone.
    transposeIntoProduct,
    mergeEqualCalls(),
    scaleIntoProduct,
    scaleBehindMoves,
    scaleIntoProduct,
    gateParts,
    // Equal factors are what joined products need, and a bias would hide them.
    joinProducts,
    joinSums,
    biasIntoProduct,
    mergeEqualCalls(),
  ];
}

/** The same results from fewer, smaller and cheaper calls. The recorded graph is used up. */
export function simplify(graph: Graph): Graph {
  return passes().reduce(applyPass, withoutDeadNodes(graph));
}
