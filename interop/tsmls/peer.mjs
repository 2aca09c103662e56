// peer.mjs runs members of MLS groups with ts-mls, for tsmls_test.go. It reads
// one JSON object a line and answers each with one: {"op": ..., "who": ...} gives
// {...} or {"error": ...}. Bytes are in base64. A Commit of ours is kept beside
// the state until "merge" or "discard".
import { createInterface } from "node:readline"
import { p256 } from "@noble/curves/nist.js"
import * as mls from "ts-mls"
import * as internal from "ts-mls/createCommit.js" // see externalInfo

const b64 = (u) => Buffer.from(u).toString("base64")
const raw = (s) => new Uint8Array(Buffer.from(s, "base64"))
const clients = new Map()
const psks = {}
const config = {
  keyRetentionConfig: mls.defaultKeyRetentionConfig,
  lifetimeConfig: mls.defaultLifetimeConfig,
  keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
  paddingConfig: mls.defaultPaddingConfig,
  authService: mls.defaultAuthenticationService,
}

const wire = (m) => b64(mls.encodeMlsMessage({ version: "mls10", ...m }))
function unwire(s) {
  const bytes = raw(s)
  const [m, n] = mls.decodeMlsMessage(bytes, 0) ?? []
  if (!m || n !== bytes.length) throw new Error("cannot decode the message")
  return m
}
const pskIndex = (c) => mls.makePskIndex(c.state, psks)
const told = (c, more = {}) => ({
  epoch: Number(c.state.groupContext.epoch),
  authenticator: b64(c.state.keySchedule.epochAuthenticator),
  active: c.state.groupActiveState.kind === "active",
  leaf: c.state.privatePath.leafIndex,
  ...more,
})

// ts-mls 1.6.4 writes and reads external_pub as the bare key, where RFC 9420
// §12.4.3.2 has a struct with an HPKEPublicKey<V>. These two put the length on
// and take it off, without touching what is signed.
function externalInfo(c) {
  const key = internal.createGroupInfoWithExternalPub(c.state, [], c.suite)
  return key.then((info) => {
    const pub = info.extensions.find((e) => e.extensionType === "external_pub").extensionData
    const header = pub.length < 64 ? [pub.length] : [0x40 | (pub.length >> 8), pub.length & 255]
    const extension = { extensionType: "external_pub", extensionData: new Uint8Array([...header, ...pub]) }
    return internal.createGroupInfoWithRatchetTree(c.state.groupContext, c.state.confirmationTag, c.state, c.state.ratchetTree, [extension], c.suite)
  })
}
function bareExternalPub(info) {
  const extensions = [...info.extensions]
  const find = extensions.find.bind(extensions)
  extensions.find = (f) => {
    const e = find(f)
    if (e?.extensionType !== "external_pub") return e
    return { ...e, extensionData: e.extensionData.slice(e.extensionData[0] < 64 ? 1 : 2) }
  }
  return { ...info, extensions }
}

async function keyPackage(c) {
  const credential = { credentialType: "basic", identity: new TextEncoder().encode(c.name) }
  const now = BigInt(c.now)
  const lifetime = { notBefore: now - 3600n, notAfter: now + 86400n }
  const capabilities = mls.defaultCapabilities()
  // ts-mls 1.6.4 makes compressed P-256 keys, where RFC 9420 §5.1.1 has
  // uncompressed ones; it reads both.
  if (!c.keys && c.suiteName.endsWith("_P256")) {
    const signKey = p256.utils.randomSecretKey()
    c.keys = { signKey, publicKey: p256.getPublicKey(signKey, false) }
  }
  const kp = c.keys
    ? await mls.generateKeyPackageWithKey(credential, capabilities, lifetime, [], c.keys, c.suite)
    : await mls.generateKeyPackage(credential, capabilities, lifetime, [], c.suite)
  c.keys = { signKey: kp.privatePackage.signaturePrivateKey, publicKey: kp.publicPackage.leafNode.signaturePublicKey }
  return kp
}

const ops = {
  async new(q) {
    const c = { name: q.name, now: q.now, suiteName: q.suite, suite: await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(q.suite)) }
    c.kp = await keyPackage(c)
    clients.set(q.who, c)
    return { keyPackage: wire({ wireformat: "mls_key_package", keyPackage: c.kp.publicPackage }) }
  },
  async create(q, c) {
    c.state = await mls.createGroup(raw(q.group), c.kp.publicPackage, c.kp.privatePackage, [], c.suite, config)
    return told(c)
  },
  async join(q, c) {
    c.state = await mls.joinGroup(unwire(q.message).welcome, c.kp.publicPackage, c.kp.privatePackage, pskIndex(c), c.suite, undefined, undefined, config)
    return told(c)
  },
  async commit(q, c) {
    const extraProposals = []
    for (const k of q.adds ?? []) extraProposals.push({ proposalType: "add", add: { keyPackage: unwire(k).keyPackage } })
    for (const r of q.removes ?? []) extraProposals.push({ proposalType: "remove", remove: { removed: r } })
    for (const id of q.psks ?? []) {
      const pskNonce = crypto.getRandomValues(new Uint8Array(q.nonce))
      extraProposals.push({ proposalType: "psk", psk: { preSharedKeyId: { psktype: "external", pskId: raw(id), pskNonce } } })
    }
    const r = await mls.createCommit(
      { state: c.state, cipherSuite: c.suite, pskIndex: pskIndex(c) },
      { extraProposals, wireAsPublicMessage: q.public, ratchetTreeExtension: true },
    )
    c.pending = r.newState
    const welcome = r.welcome && wire({ wireformat: "mls_welcome", welcome: r.welcome })
    return { message: b64(mls.encodeMlsMessage(r.commit)), welcome }
  },
  async merge(q, c) {
    c.state = c.pending
    return told(c)
  },
  async propose(q, c) {
    const proposal = { proposalType: "remove", remove: { removed: q.removes[0] } }
    const r = await mls.createProposal(c.state, q.public, proposal, c.suite)
    c.state = r.newState
    return told(c, { message: b64(mls.encodeMlsMessage(r.message)) })
  },
  async read(q, c) {
    const m = unwire(q.message)
    const r = m.wireformat === "mls_private_message"
      ? await mls.processPrivateMessage(c.state, m.privateMessage, pskIndex(c), c.suite)
      : await mls.processPublicMessage(c.state, m.publicMessage, pskIndex(c), c.suite)
    c.state = r.newState
    return told(c, { data: r.kind === "applicationMessage" ? b64(r.message) : "" })
  },
  async send(q, c) {
    const r = await mls.createApplicationMessage(c.state, raw(q.data), c.suite)
    c.state = r.newState
    return told(c, { message: wire({ wireformat: "mls_private_message", privateMessage: r.privateMessage }) })
  },
  async info(q, c) {
    return { message: wire({ wireformat: "mls_group_info", groupInfo: await externalInfo(c) }) }
  },
  async external(q, c) {
    c.kp = await keyPackage(c)
    const info = bareExternalPub(unwire(q.message).groupInfo)
    const r = await mls.joinGroupExternal(info, c.kp.publicPackage, c.kp.privatePackage, q.resync, c.suite, undefined, config)
    c.state = r.newState
    return told(c, { message: wire({ wireformat: "mls_public_message", publicMessage: r.publicMessage }) })
  },
  async told(q, c) {
    return told(c)
  },
  async psk(q) {
    psks[mls.bytesToBase64(raw(q.data))] = raw(q.message)
    return {}
  },
  async drop(q) {
    clients.delete(q.who)
    return {}
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const q = JSON.parse(line)
  let answer
  try {
    answer = await ops[q.op](q, clients.get(q.who))
  } catch (e) {
    answer = { error: String(e?.stack ?? e) }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
