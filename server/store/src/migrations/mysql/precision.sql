-- Ours: writes within one second are told apart, and credentials may end after 2038.
ALTER TABLE namespaces MODIFY state_modified_at TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6);
ALTER TABLE authentications MODIFY expires_at DATETIME(6) NULL DEFAULT NULL;
