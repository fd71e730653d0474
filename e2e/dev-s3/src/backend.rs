//! The S3 operations: `s3s-fs` with the conditional requests it does not answer as S3 does.

use std::path::PathBuf;

use async_trait::async_trait;
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::dto::{
    CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, ETag, ETagCondition, GetBucketLocationInput, GetBucketLocationOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::RwLock;

/// `s3s-fs` checks `If-Match` and writes in two steps; the lock makes them one. Readers take it too, so that
/// they never see the body of one write with the entity tag of another.
pub(crate) struct Backend {
    files: FileSystem,
    root: PathBuf,
    lock: RwLock<()>,
}

impl Backend {
    pub(crate) fn new(files: FileSystem, root: PathBuf) -> Self {
        Self { files, root, lock: RwLock::new(()) }
    }

    /// `s3s-fs` answers `NoSuchKey` for a bucket that does not exist, or creates it; S3 does neither.
    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        // s3s has already refused names that are no bucket names, so this cannot leave the root.
        if self.root.join(bucket).is_dir() { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

fn not_modified(condition: Option<&ETagCondition>, actual: Option<&ETag>) -> bool {
    match (condition, actual) {
        (Some(ETagCondition::Any), Some(_)) => true,
        (Some(ETagCondition::ETag(expected)), Some(actual)) => expected.weak_cmp(actual),
        _ => false,
    }
}

#[async_trait]
impl S3 for Backend {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let _writing = self.lock.write().await;
        self.files.put_object(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let condition = req.input.if_none_match.clone();
        let _reading = self.lock.read().await;
        let response = self.files.get_object(req).await?;
        if not_modified(condition.as_ref(), response.output.e_tag.as_ref()) {
            return Err(s3_error!(NotModified));
        }
        Ok(response)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let condition = req.input.if_none_match.clone();
        let _reading = self.lock.read().await;
        let response = self.files.head_object(req).await?;
        if not_modified(condition.as_ref(), response.output.e_tag.as_ref()) {
            return Err(s3_error!(NotModified));
        }
        Ok(response)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let _writing = self.lock.write().await;
        self.files.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let _writing = self.lock.write().await;
        self.files.delete_objects(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let _reading = self.lock.read().await;
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.check_bucket(&req.input.bucket)?;
        let _reading = self.lock.read().await;
        self.files.list_objects_v2(req).await
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files.create_bucket(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }
}

/// One key pair; an unknown access key is answered with the code that S3 uses.
pub(crate) struct OneKey(SimpleAuth);

impl OneKey {
    pub(crate) fn new(access_key: &str, secret_key: &str) -> Self {
        Self(SimpleAuth::from_single(access_key, secret_key))
    }
}

#[async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.lookup(access_key).cloned().ok_or_else(|| {
            s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
        })
    }
}
