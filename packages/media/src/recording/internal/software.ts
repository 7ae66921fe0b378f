/** Name and version of this software, for receipts and media files. */
import { readFileSync } from "node:fs"

const readVersion = (): string => {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8")
  const parsed: unknown = JSON.parse(text)
  const version =
    typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined
  return typeof version === "string" ? version : "unknown"
}

export const softwareVersion = readVersion()
export const software = { name: `Ebb ${softwareVersion}` }
