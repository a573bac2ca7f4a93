export { compareKernels } from "./compare.ts";
export type { KernelComparison } from "./compare.ts";
export { biasKernel, embeddingKernel, gainKernel, sumKernels, weightKernel } from "./factored.ts";
export type { EmbeddingExample, FactoredOptions, LayerExample, Sensitivities, WeightSlices } from "./factored.ts";
export type { OutputFunction } from "./jacobian.ts";
export { diagonalKernel, kernelMatrix, traceKernel } from "./kernel.ts";
export type { Kernel } from "./kernel.ts";
export { empiricalKernel } from "./kernelOfModel.ts";
export type { EmpiricalKernel, KernelFormula, KernelOptions } from "./kernelOfModel.ts";
export { startLaziness } from "./laziness.ts";
export type { Laziness, LazinessPoint } from "./laziness.ts";
export { spectrum, subspaceOverlap } from "./spectrum.ts";
export type { Spectrum } from "./spectrum.ts";
export { all, biases, columns, noEmbeddings, noHead, rows, trained } from "./subsets.ts";
export type { Candidate, SliceOptions, Subset, SubsetReport } from "./subsets.ts";
export { accuracyOf, fewShot, kernelRegression, meanAndDeviation } from "./regression.ts";
export type {
  InitialOutputs,
  LeastSquaresSolver,
  LogisticSolver,
  RegressionInput,
  RegressionResult,
  Solver,
} from "./regression.ts";
export { regressModel } from "./regressionOfModel.ts";
export type { LabelledExamples, ModelRegression, ModelRegressionOptions } from "./regressionOfModel.ts";
export { kernelPage, kernelTable } from "./report.ts";
export type { DrawFigures, KernelReport, LazinessFigure, MethodFigures } from "./report.ts";
export type { LeastSquaresOptions } from "./solve.ts";
