import { assert, describe, it } from "@effect/vitest"
import { align } from "../src/cli/output.ts"

describe("a table", () => {
  it("shows what others wrote without letting it drive the terminal or begin a row of its own", () => {
    const lines = align([
      ["RECORDING", "REASON"],
      ["rec", "\u001b[2Jgone\nrec2  asked to by ada\u009b31m"]
    ])
    assert.deepStrictEqual(lines, [
      "RECORDING  REASON",
      "rec        \ufffd[2Jgone\ufffdrec2  asked to by ada\ufffd31m"
    ])
  })
})
