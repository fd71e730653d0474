// @openfeature/ofrep-web-provider: OpenFeature in a browser, over OFREP's bulk evaluation, which it polls with the
// tag of the last answer. Runs as a page of the origin given. Where flags can be changed (FLIPT_LISTS), it changes
// one in between, and waits until a poll brings the change.
'use strict';

const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
const { OpenFeature } = require('@openfeature/web-sdk');
const fetchFrom = require('./browser.cjs');
const { url, token, lists, variant, unknown, attempt, tell } = require('./questions.cjs');

const [origin] = process.argv.slice(2);
const requests = [];
const network = globalThis.fetch;
const detailsOf = ({ value, variant: chosen, reason, flagMetadata, errorCode, errorMessage }) => ({
  value,
  variant: chosen,
  reason,
  metadata: flagMetadata,
  errorCode,
  errorMessage,
});
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

async function until(condition, what) {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within 60 s: ${JSON.stringify(requests)}`);
    await pause();
  }
}

(async () => {
  const provider = new OFREPWebProvider({
    baseUrl: url,
    pollInterval: 100,
    cacheMode: 'disabled',
    headers: token === undefined ? [] : [['Authorization', `Bearer ${token}`]],
    fetchImplementation: fetchFrom(origin, network, requests),
  });
  const context = { targetingKey: variant.entityId, ...variant.context };
  const started = await attempt(() => OpenFeature.setProviderAndWait(provider, context));
  if (started?.error) {
    tell(started);
    await OpenFeature.close();
    return;
  }
  const client = OpenFeature.getClient();
  const statuses = () => requests.map((request) => request.status);
  const answers = await attempt(async () => {
    await until(() => requests.length >= 3, 'the third poll');
    const told = {
      variant: detailsOf(client.getStringDetails(variant.flagKey, 'fallback')),
      boolean: detailsOf(client.getBooleanDetails('maintenance-banner', true)),
      unknown: detailsOf(client.getStringDetails(unknown.flagKey, 'fallback')),
      statuses: statuses().slice(0, 3),
    };
    if (lists) {
      const flag = { key: 'maintenance-banner', name: 'Maintenance banner', enabled: true };
      const changed = await network(`${url}/api/v1/namespaces/default/flags/${flag.key}`, {
        method: 'PUT',
        body: JSON.stringify(flag),
        headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
      });
      if (!changed.ok) throw new Error(await changed.text());
      await until(() => client.getBooleanValue(flag.key, false), 'the change');
      told.changed = detailsOf(client.getBooleanDetails(flag.key, false));
      told.answers = [...new Set(statuses())].sort();
    }
    return told;
  });
  tell(answers);
  await OpenFeature.close();
})();
