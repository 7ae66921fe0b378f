/** docs/control-api.md as its tests read it: sections by heading, examples by command, the table of errors. */
import { readFileSync } from "node:fs"
import { join } from "node:path"

export const page = readFileSync(join(import.meta.dirname, "../../docs/control-api.md"), "utf8")

export interface Example {
  readonly command: string
  readonly part: "request" | "answer"
  /** What the page says that the bytes mean. */
  readonly json: unknown
  readonly bytes: Uint8Array
  /** For a request: the answer that the page gives to it. */
  readonly answer: unknown
}

const blocks = [...page.matchAll(/```hex (\S+) (request|answer)\n# (.*)\n([0-9a-f\n]+)```/g)].map(
  ([, command = "", part, json = "", hex = ""]) => ({
    command,
    part,
    json: JSON.parse(json) as unknown,
    bytes: Buffer.from(hex.replaceAll("\n", ""), "hex")
  })
)

export const examples = blocks.map((block, n): Example => ({
  ...block,
  part: block.part === "request" ? "request" : "answer",
  answer: blocks[n + 1]?.json
}))

/** All that is below a heading of the third level, with the shapes that it links to. */
export const section = (heading: string): string => {
  const text = sections.get(heading) ?? ""
  const links = [...text.matchAll(/\]\(#([a-z]+)\)/g)].map(([, anchor]) => anchor)
  const shapes = [...sections].filter(([name]) => name !== heading && links.includes(name.toLowerCase()))
  return [text, ...shapes.map(([, shape]) => shape)].join("\n")
}

const sections = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((text) => {
      const [heading = "", ...lines] = text.split(/^## /m)[0]?.split("\n") ?? []
      return [heading.replaceAll("`", ""), lines.join("\n")]
    })
)

/** The rows of the table of errors: what is in backquotes in the third column are the fields. */
export const errorRows = [...page.matchAll(/^\| `(\w+)` \| (safe|never|unknown) \| (.*?) \|/gm)].map(
  ([, tag = "", retry = "", fields = ""]) => ({
    tag,
    retry,
    fields: [...fields.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name)
  })
)
