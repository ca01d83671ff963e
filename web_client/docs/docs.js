// The description of the routes, to read and to try. Everything shown comes from /openapi.json; nothing from elsewhere.

/** @typedef {Record<string, any>} Json a part of the description */

const token = /** @type {HTMLInputElement} */ (document.querySelector('#token'))
const routes = /** @type {HTMLElement} */ (document.querySelector('#routes'))
const ANSWER_MS = 5000 // an event stream does not end; so much of it is shown
const ANSWER_CHARS = 20_000

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/**
 * The shape of a schema in the words of the contract's page: `{seg, chunks: [[integer]]}`.
 * @param {Json} schema
 * @param {Json} components
 * @param {number} [depth]
 * @returns {string}
 */
function shape(schema, components, depth = 0) {
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop()
    return depth > 3 ? name : shape(components[name], components, depth)
  }
  if (schema.anyOf) return schema.anyOf.map((/** @type {Json} */ one) => shape(one, components, depth)).join(' or ')
  if ('const' in schema) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((/** @type {any} */ one) => JSON.stringify(one)).join(' | ')
  if (schema.type === 'array') return `[${shape(schema.items ?? {}, components, depth)}]`
  if (schema.type !== 'object') return schema.type ?? 'anything'
  const indent = '  '.repeat(depth + 1)
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const mark = (schema.required ?? []).includes(name) ? '' : '?'
    return `${indent}${name}${mark}: ${shape(member, components, depth + 1)}`
  })
  return members.length ? `{\n${members.join(',\n')}\n${'  '.repeat(depth)}}` : '{…}'
}

/** What stands between backticks is code. @param {string} text */
const worded = (text) => make('span', {}, ...text.split('`').map((part, n) => n % 2 ? make('code', {}, part) : part))

/** @param {(Node | string)[][]} rows */
const table = (rows) => make('table', {}, make('tbody', {}, ...rows.map((cells) => make('tr', {}, ...cells.map((cell) => make('td', {}, cell))))))

/**
 * @param {string} path
 * @param {string} method
 * @param {Json} operation
 * @param {Json} components
 */
function card(path, method, operation, components) {
  const inside = make('div', { class: 'inside' })
  const details = make('details', { id: operation.operationId }, make('summary', {},
    make('span', { class: `method ${method}` }, method), make('span', { class: 'path' }, path),
    make('span', { class: 'dim' }, operation.summary)), inside)
  // made when it is opened: there are many, and few are looked at
  details.addEventListener('toggle', () => { if (!inside.childElementCount) fill(inside, path, method, operation, components) })
  return details
}

/**
 * @param {HTMLElement} inside
 * @param {string} path
 * @param {string} method
 * @param {Json} operation
 * @param {Json} components
 */
function fill(inside, path, method, operation, components) {
  const content = operation.requestBody?.content ?? {}
  const json = content['application/json']
  if (operation.description) inside.append(make('p', { class: 'dim' }, operation.description))
  if (json) inside.append(make('h3', {}, 'Body'), make('pre', {}, shape(json.schema, components)))
  inside.append(make('h3', {}, 'Answers'), table(Object.entries(operation.responses).map(([status, answer]) => {
    const schema = answer.content?.['application/json']?.schema?.properties?.data
    const told = schema ? make('pre', {}, shape(schema, components)) : Object.keys(answer.content ?? {}).join(', ')
    return [make('b', {}, status), Number(status) < 400 ? told : worded(answer.description)]
  })))
  inside.append(make('h3', {}, 'Try it'), attempt(path, method, operation, content))
}

/**
 * @param {string} path
 * @param {string} method
 * @param {Json} operation
 * @param {Json} content
 */
function attempt(path, method, operation, content) {
  /** @type {[Json, HTMLInputElement][]} */
  const inputs = operation.parameters.map((/** @type {Json} */ parameter) => [parameter, make('input', { 'aria-label': parameter.name, placeholder: parameter.schema.description ?? '' })])
  const body = /** @type {HTMLTextAreaElement | null} */ (content['application/json'] ? make('textarea', { 'aria-label': 'Body', spellcheck: 'false' }, '{}') : null)
  const file = /** @type {HTMLInputElement | null} */ (operation.requestBody && !body ? make('input', { type: 'file', 'aria-label': 'Body' }) : null)
  const form = make('form', {}, ...inputs.map(([parameter, input]) => make('label', {}, `${parameter.name} `, make('span', { class: 'dim' }, parameter.in), input)))
  if (body) form.append(make('label', {}, 'Body ', make('span', { class: 'dim' }, 'JSON'), body))
  if (file) form.append(make('label', {}, 'Body ', make('span', { class: 'dim' }, 'file'), file))
  const said = make('pre', { role: 'status', hidden: '' })
  form.append(make('button', {}, 'Send'), said)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    let url = path
    const query = new URLSearchParams()
    const headers = new Headers()
    for (const [parameter, { value }] of inputs) {
      if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, parameter.name === 'name' ? encodeURI(value) : encodeURIComponent(value))
      else if (value && parameter.in === 'query') query.set(parameter.name, value)
      else if (value) headers.set(parameter.name, value)
    }
    if (token.value && operation.security) headers.set('Authorization', `Bearer ${token.value.trim()}`)
    if (body?.value.trim()) headers.set('Content-Type', 'application/json')
    said.hidden = false
    said.textContent = '…'
    const sent = body ? body.value.trim() || null : file?.files?.[0] ?? null
    try {
      said.textContent = await asked(url + (query.size ? `?${query}` : ''), { method, headers, body: sent })
    } catch (error) {
      said.textContent = String(error)
    }
  })
  return form
}

/**
 * What a request is answered, as text.
 * @param {string} url
 * @param {RequestInit} request
 */
async function asked(url, request) {
  const answer = await fetch(url, { ...request, cache: 'no-store' })
  const head = [`${answer.status} ${answer.statusText}`, ...[...answer.headers].map(([name, value]) => `${name}: ${value}`)].join('\n')
  const type = answer.headers.get('content-type') ?? ''
  const text = /json|text|event-stream/.test(type) ? await beginning(answer) : `(${type || 'nothing'})`
  if (!answer.body?.locked) await answer.body?.cancel()
  return `${head}\n\n${type.includes('json') ? pretty(text) : text}`
}

/** @param {Response} answer */
async function beginning(answer) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  const until = setTimeout(() => void reader?.cancel(), ANSWER_MS)
  let text = ''
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    text += part.value
    if (text.length > ANSWER_CHARS) void reader?.cancel()
  }
  clearTimeout(until)
  return text
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

/** Whose token it is, read from it; whether it is good the server says. */
function introduce() {
  const who = /** @type {HTMLElement} */ (document.querySelector('#who'))
  try {
    const claims = JSON.parse(atob(token.value.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
    who.textContent = `${claims.role} ${claims.sub}, call ${claims.call}, until ${new Date(claims.exp * 1000).toLocaleString()}`
  } catch {
    who.textContent = token.value ? 'This is no token.' : ''
  }
}

token.addEventListener('input', introduce)
document.querySelector('#token-form')?.addEventListener('submit', (event) => event.preventDefault())

/** @type {Json} */
const description = await (await fetch('/openapi.json')).json()
const { schemas } = description.components
const version = /** @type {HTMLElement} */ (document.querySelector('#version'))
version.textContent = description.info.version
for (const { name } of description.tags) {
  const cards = Object.entries(description.paths).flatMap(([path, methods]) => Object.entries(methods)
    .filter(([, operation]) => operation.tags[0] === name)
    .map(([method, operation]) => card(path, method.toUpperCase(), operation, schemas)))
  routes.append(make('h2', {}, name), ...cards)
}
routes.setAttribute('aria-busy', 'false')
const named = document.getElementById(location.hash.slice(1))
if (named instanceof HTMLDetailsElement) {
  named.open = true
  named.scrollIntoView()
}
export {}
