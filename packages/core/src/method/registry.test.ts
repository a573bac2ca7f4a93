import { describe, expect, it } from "vitest";
import { methods } from "../../test/folders.ts";
import { added } from "../../test/tiny.ts";
import { MethodRegistry } from "../index.ts";

describe("MethodRegistry", () => {
  it("finds by name with near misses, and keeps names unique", () => {
    expect(methods.get("added")).toBe(added);
    expect(methods.list()).toHaveLength(1);
    expect(() => methods.get("aded")).toThrow(/No method is called "aded". Did you mean "added"\? Registered: added/u);
    expect(() => new MethodRegistry().use(added).use({ ...added })).toThrow(
      expect.objectContaining({ code: "METHOD_EXISTS" }),
    );
  });
});
