/** Certificates for a test: an authority of its own, and who it signs for. Written out in DER, so that no tool has to be there. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto"

export interface Certificate {
  /** PEM. */
  readonly certificate: string
  readonly key: string
}

export interface Authority extends Certificate {
  /** For a host name or an IPv4 address. */
  readonly issue: (host: string) => Certificate
}

const tlv = (tag: number, content: Uint8Array): Buffer => {
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: ReadonlyArray<Uint8Array>) => tlv(0x30, Buffer.concat(parts))
const oid = (hex: string) => tlv(0x06, Buffer.from(hex, "hex"))
const bits = (content: Uint8Array) => tlv(0x03, Buffer.concat([Buffer.of(0), content]))
const octets = (content: Uint8Array) => tlv(0x04, content)
const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"))
const nameOf = (commonName: string) =>
  sequence(tlv(0x31, sequence(oid("550403"), tlv(0x0c, Buffer.from(commonName)))))
const pem = (der: Uint8Array) =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`

const isCa = sequence(oid("551d13"), octets(sequence(tlv(0x01, Buffer.of(0xff)))))
const subjectAltName = (host: string) =>
  sequence(
    oid("551d11"),
    octets(
      sequence(
        /^[0-9.]+$/.test(host)
          ? tlv(0x87, Buffer.from(host.split(".").map(Number)))
          : tlv(0x82, Buffer.from(host))
      )
    )
  )

const signed = (
  of: { readonly name: string; readonly publicKey: KeyObject; readonly extension: Uint8Array },
  by: { readonly name: string; readonly privateKey: KeyObject }
): string => {
  const serial = randomBytes(8)
  serial.writeUInt8(0x11, 0)
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.of(2))),
    tlv(0x02, serial),
    ecdsaWithSha256,
    nameOf(by.name),
    sequence(...["200101000000Z", "491231235959Z"].map((time) => tlv(0x17, Buffer.from(time)))),
    nameOf(of.name),
    of.publicKey.export({ type: "spki", format: "der" }),
    tlv(0xa3, sequence(of.extension))
  )
  return pem(sequence(body, ecdsaWithSha256, bits(sign("sha256", body, by.privateKey))))
}

const keyPair = () => generateKeyPairSync("ec", { namedCurve: "P-256" })
const keyText = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString()

export const makeAuthority = (name: string): Authority => {
  const { privateKey, publicKey } = keyPair()
  return {
    certificate: signed({ name, publicKey, extension: isCa }, { name, privateKey }),
    key: keyText(privateKey),
    issue: (host) => {
      const own = keyPair()
      return {
        certificate: signed(
          { name: host, publicKey: own.publicKey, extension: subjectAltName(host) },
          { name, privateKey }
        ),
        key: keyText(own.privateKey)
      }
    }
  }
}
