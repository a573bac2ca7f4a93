import { largest } from "./largest.ts";

/** Entries of one tensor that may yet be chosen. */
interface Candidates {
  /** Ascending. */
  readonly places: Int32Array;
  readonly scores: Float32Array;
}

/**
 * The k numbers of largest absolute value of several tensors together; of equal ones those of the earlier tensor, then of the lower
 * place. The tensors come one after the other and are not kept, only their candidates are, 2k at most in between.
 */
export class Pool {
  readonly #k: number;
  #tensors: Candidates[] = [];
  #size = 0;

  constructor(k: number) {
    this.#k = k;
  }

  /** The next tensor. @throws PeftError `CALIBRATION_NOT_FINITE` when a number is NaN. */
  add(numbers: Float32Array): void {
    const places = largest(numbers, Math.min(this.#k, numbers.length));
    this.#tensors.push({ places, scores: at(numbers, places) });
    this.#size += places.length;
    // Not after every tensor: so the work is linear in what was added.
    if (this.#size >= 2 * this.#k) this.#prune();
  }

  /** Chosen places of each tensor, ascending, in the order in which the tensors came. */
  chosen(): Int32Array[] {
    this.#prune();
    return this.#tensors.map(({ places }) => places);
  }

  #prune(): void {
    const all = new Float32Array(this.#size);
    let offset = 0;
    for (const { scores } of this.#tensors) {
      all.set(scores, offset);
      offset += scores.length;
    }
    const kept = largest(all, Math.min(this.#k, all.length));
    let [from, start] = [0, 0];
    this.#tensors = this.#tensors.map(({ places, scores }) => {
      const end = start + places.length;
      let to = from;
      while (to < kept.length && (kept[to] as number) < end) to++;
      const own = kept.subarray(from, to).map((each) => each - start);
      [from, start] = [to, end];
      return { places: own.map((each) => places[each] as number), scores: at(scores, own) };
    });
    this.#size = kept.length;
  }
}

function at(numbers: Float32Array, places: Int32Array): Float32Array {
  const found = new Float32Array(places.length);
  // A plain loop: there may be as many as a layer has weights.
  for (let i = 0; i < found.length; i++) found[i] = numbers[places[i] as number] as number;
  return found;
}
