// fetch as a page of another origin gets it: the CORS protocol of the Fetch standard, which Node's own fetch does
// not apply. It asks before requests that are not simple, refuses answers the page may not read, and hides
// headers that are not exposed. Credentials (cookies) are not sent, as is the default for other origins.
'use strict';

const SIMPLE_METHODS = ['GET', 'HEAD', 'POST'];
const SIMPLE_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];
const READABLE = [
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
];

const list = (value) => (value ?? '').split(',').map((item) => item.trim().toLowerCase());

function isSimple(name, value) {
  if (['accept', 'accept-language', 'content-language'].includes(name)) return true;
  return name === 'content-type' && SIMPLE_TYPES.includes(value.split(';')[0].trim().toLowerCase());
}

function mayRead(origin, headers) {
  return ['*', origin].includes(headers.get('access-control-allow-origin'));
}

async function preflight(network, url, origin, method, names) {
  const headers = { Origin: origin, 'Access-Control-Request-Method': method };
  if (names.length > 0) headers['Access-Control-Request-Headers'] = names.join(',');
  const answer = await network(url, { method: 'OPTIONS', headers });
  await answer.arrayBuffer();
  const refuse = (why) => {
    throw new TypeError(`blocked by CORS policy: ${method} ${url}: ${why}`);
  };
  if (!answer.ok) refuse(`preflight answered ${answer.status}`);
  if (!mayRead(origin, answer.headers)) refuse(`origin ${origin} is not allowed`);
  const methods = list(answer.headers.get('access-control-allow-methods'));
  if (!SIMPLE_METHODS.includes(method) && !methods.includes(method.toLowerCase()) && !methods.includes('*')) {
    refuse(`method ${method} is not allowed`);
  }
  const allowed = list(answer.headers.get('access-control-allow-headers'));
  for (const name of names) {
    // A wildcard does not cover credentials.
    const wildcard = allowed.includes('*') && name !== 'authorization';
    if (!allowed.includes(name) && !wildcard) refuse(`header ${name} is not allowed`);
  }
}

// A fetch for pages of this origin, on this network; `log` gets what each request was and how it was answered.
module.exports = function fetchFrom(origin, network = globalThis.fetch, log = []) {
  return async function fetch(input, init) {
    const request = new Request(input, init);
    const method = request.method.toUpperCase();
    const body = ['GET', 'HEAD'].includes(method) ? undefined : await request.text();
    const headers = Object.fromEntries(request.headers);
    const names = Object.entries(headers)
      .filter(([name, value]) => !isSimple(name, value))
      .map(([name]) => name)
      .sort();
    if (!SIMPLE_METHODS.includes(method) || names.length > 0) {
      await preflight(network, request.url, origin, method, names);
    }
    const answer = await network(request.url, { method, headers: { ...headers, Origin: origin }, body });
    const path = new URL(request.url).pathname;
    log.push({ method, path, status: answer.status, asked: names });
    if (!mayRead(origin, answer.headers)) {
      throw new TypeError(`blocked by CORS policy: ${method} ${request.url}: origin ${origin} may not read the answer`);
    }
    const exposed = list(answer.headers.get('access-control-expose-headers'));
    const visible = [...answer.headers].filter(
      ([name]) => READABLE.includes(name) || exposed.includes(name) || exposed.includes('*'),
    );
    const empty = [101, 204, 205, 304].includes(answer.status);
    const content = await answer.arrayBuffer();
    return new Response(empty ? null : content, {
      status: answer.status,
      statusText: answer.statusText,
      headers: visible,
    });
  };
};
