import { ELEMENTWISE_CASES } from "./cases/elementwise.ts";
import { INDEXING_CASES } from "./cases/indexing.ts";
import { PRODUCT_CASES } from "./cases/products.ts";
import { REDUCTION_CASES } from "./cases/reduction.ts";
import { STRUCTURE_CASES } from "./cases/structure.ts";
import { describeKernels } from "./describeKernels.ts";

describeKernels("elementwise kernels", ELEMENTWISE_CASES);
describeKernels("reductions and kernels along an axis", REDUCTION_CASES);
describeKernels("kernels that move values", STRUCTURE_CASES);
describeKernels("kernels that read, write, sort and count", INDEXING_CASES);
describeKernels("products", PRODUCT_CASES);
