import { describe, expect, it } from "vitest";
import { extractChoice, extractLetter, extractNumber, isSameNumber } from "./answers.ts";

describe("what a generated text answers", () => {
  it("is the first choice of its set in it, letter by letter", () => {
    expect(extractChoice("That is untrue, false", "boolq")).toBe("true");
    expect(extractChoice("TRUE", "boolq")).toBe("");
    expect(extractChoice("the correct answer is answer10", "openbookqa")).toBe("answer1");
    expect(extractChoice("Option1", "winogrande")).toBe("");
    expect(extractChoice("ending5, or ending3", "hellaswag")).toBe("ending3");
    expect(() => extractChoice("1", "gsm8k")).toThrow(/"gsm8k" is no set with choices.*piqa/);
  });

  it("is the last number in it", () => {
    expect(extractNumber("There are 1,576 tiles. The answer is 576.")).toBe(576);
    expect(extractNumber("That makes 1,576 tiles")).toBe(1576);
    expect(extractNumber("The answer is -3.50")).toBe(-3.5);
    expect(extractNumber("5-3")).toBe(-3);
    expect(extractNumber("none")).toBe(Infinity);
    expect([isSameNumber(2.0009, 2), isSameNumber(2.002, 2), isSameNumber(Infinity, 2)]).toEqual([true, false, false]);
  });

  it("is a letter, the first one or the stated one", () => {
    expect(extractLetter("The answer is (D).")).toBe("D");
    expect(extractLetter("Based on this, the answer is (C).")).toBe("B");
    expect(extractLetter("Answer: C")).toBe("A");
    expect(extractLetter("Based on this, the answer is (C).", "choice")).toBe("C");
    expect(extractLetter("Everything says E", "choice")).toBe("E");
    expect(extractLetter("none", "choice")).toBe("");
  });
});
