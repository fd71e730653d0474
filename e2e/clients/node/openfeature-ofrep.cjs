// @openfeature/ofrep-provider: OpenFeature over OFREP, one request per evaluation.
'use strict';

const { OFREPProvider } = require('@openfeature/ofrep-provider');
const { OpenFeature } = require('@openfeature/server-sdk');
const { url, token, variant, fallback, boolean, unknown, tell } = require('./questions.cjs');

const contextOf = (question) => ({ targetingKey: question.entityId, ...question.context });
const detailsOf = ({ value, variant: chosen, reason, flagMetadata, errorCode, errorMessage }) => ({
  value,
  variant: chosen,
  reason,
  metadata: flagMetadata,
  errorCode,
  errorMessage,
});

(async () => {
  const headers = token === undefined ? [] : [['Authorization', `Bearer ${token}`]];
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers }));
  const client = OpenFeature.getClient();
  const text = async (question) =>
    detailsOf(await client.getStringDetails(question.flagKey, 'fallback', contextOf(question)));
  tell({
    variant: await text(variant),
    default: await text(fallback),
    boolean: detailsOf(await client.getBooleanDetails(boolean.flagKey, false, contextOf(boolean))),
    unknown: await text(unknown),
  });
  await OpenFeature.close();
})();
