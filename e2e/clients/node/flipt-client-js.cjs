// @flipt-io/flipt-client-js: evaluation in the application, on the server's snapshot. With the argument `browser`
// it is the build for browsers, in a page of the origin that follows.
'use strict';

const [build = 'node', origin] = process.argv.slice(2);
const { url, token, variant, fallback, boolean, unknown, attempt, tell } = require('./questions.cjs');
const requests = [];
if (build === 'browser') {
  const fetchFrom = require('./browser.cjs');
  globalThis.fetch = fetchFrom(origin, globalThis.fetch, requests);
}
const { FliptClient } = require(`@flipt-io/flipt-client-js/${build}`);

const variantOf = (answer) => ({
  match: answer.match,
  variant: answer.variantKey,
  attachment: answer.variantAttachment,
  segments: answer.segmentKeys,
  reason: answer.reason,
});
const booleanOf = (answer) => ({ enabled: answer.enabled, reason: answer.reason });
const entryOf = (entry) => {
  if (entry.variantEvaluationResponse) return variantOf(entry.variantEvaluationResponse);
  if (entry.booleanEvaluationResponse) return booleanOf(entry.booleanEvaluationResponse);
  return { error: `${entry.errorEvaluationResponse.reason} ${entry.errorEvaluationResponse.flagKey}` };
};

(async () => {
  const client = await attempt(() =>
    FliptClient.init({
      url,
      namespace: 'default',
      updateInterval: 0,
      authentication: token === undefined ? undefined : { clientToken: token },
    }),
  );
  if (client.error) {
    tell(client);
    return;
  }
  const answers = {
    flags: client.listFlags().map((flag) => flag.key).sort(),
    variant: await attempt(() => variantOf(client.evaluateVariant(variant))),
    default: await attempt(() => variantOf(client.evaluateVariant(fallback))),
    boolean: await attempt(() => booleanOf(client.evaluateBoolean(boolean))),
    batch: await attempt(() => client.evaluateBatch([boolean, variant, unknown]).responses.map(entryOf)),
    unknown: await attempt(() => variantOf(client.evaluateVariant(unknown))),
    // Nothing has changed since: the answer is 304, recognised by its tag.
    refreshed: await attempt(() => client.refresh()),
  };
  if (build === 'browser') answers.statuses = requests.map((request) => request.status);
  tell(answers);
  client.close?.();
})();
