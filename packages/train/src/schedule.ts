/** Factor on the learning rate by steps already done (0 before the first step). */
export type Schedule = (stepsDone: number) => number;

export type ScheduleName = "constant" | "linear" | "cosine";

export interface ScheduleOptions {
  readonly warmupSteps: number;
  readonly totalSteps: number;
}

/**
 * Schedules of transformers (get_*_schedule_with_warmup). During warm-up n/warmup, so that the very first step has rate 0;
 * then, with p the share of the remaining steps: constant 1, linear 1 − p, cosine ½(1 + cos πp).
 */
export function schedule(name: ScheduleName, { warmupSteps, totalSteps }: ScheduleOptions): Schedule {
  const span = Math.max(1, totalSteps - warmupSteps);
  return (done) => {
    if (done < warmupSteps) return done / Math.max(1, warmupSteps);
    const progress = (done - warmupSteps) / span;
    if (name === "constant") return 1;
    if (name === "linear") return Math.max(0, (totalSteps - done) / span);
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
  };
}
